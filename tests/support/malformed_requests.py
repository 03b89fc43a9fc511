"""A strategy for malformed JSON: wrong types under known names, and extreme numbers and texts."""

from hypothesis import strategies as st

any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["text", "label", "fruit", "5", "5.17", "\ud800", "\0", 2**63, 2**31, -1, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "data", "text", "task", "annotations", "result", "value", "choices", "from_name",
                 "completed_by", "updated_at", "lead_time", "was_cancelled", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)  # fmt: skip
