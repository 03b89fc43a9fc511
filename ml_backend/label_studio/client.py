"""Calls to Label Studio's API, through the SDK's own HTTP client (tokens of both kinds, retries, Retry-After).

The SDK's typed methods are not used: parsing 10,000 tasks into its models takes longer than fetching them, and some of
its models drop fields that the queue lives on.

ApprenticeError
└── LabelStudioError
    ├── Unreachable   no answer in time
    ├── Denied        the API key is not accepted, or may not do this
    ├── NotFound      no such project, task, ...
    └── Refused       any other answer that is not a success
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any

from ml_backend.core.exceptions import (
    AccessDeniedError,
    LabelStudioError,
    NotFoundError,
    RequestRefusedError,
    UnreachableError,
)

PAGE = 5000  # tasks; larger pages are no faster and keep annotators waiting
ASKED_BY_NUMBER = 500  # tasks; they stand in the address
_PROJECT_FIELDS = (
    "id,created_at,label_config,model_version,sampling,show_collab_predictions,"
    "skip_queue,maximum_annotations,task_number,total_annotations_number,skipped_annotations_number"
)


PRIVATE = (
    "Label Studio forbids itself private addresses: start it with ML_BLOCK_LOCAL_IP=false and "
    "SSRF_PROTECTION_ENABLED=false, both, or give this backend a public address (APPRENTICE_PUBLIC_URL)"
)


class LabelStudioClient:
    """The way to one Label Studio. Safe to use from several threads."""

    def __init__(self, url: str, api_key: str, timeout: float = 20.0) -> None:
        import httpx
        from label_studio_sdk import LabelStudio
        from label_studio_sdk.core.api_error import ApiError

        if not api_key:
            raise AccessDeniedError(
                "There is no API key for Label Studio: set APPRENTICE_LABEL_STUDIO_API_KEY, or give --api-key"
            )
        self.url = url.rstrip("/")
        self.token_kind = "personal access token" if api_key.count(".") == 2 else "legacy token"
        self._api_error, self._http_errors = ApiError, (httpx.HTTPError, httpx.InvalidURL)
        # measured on 1.23: its server answers a kept-alive connection 40 ms later than a new one
        self._connections = httpx.Client(timeout=timeout, headers={"Connection": "close"})
        try:
            make: Any = LabelStudio
            sdk = make(base_url=self.url, api_key=api_key, httpx_client=self._connections)
        except ApiError as error:
            raise AccessDeniedError(
                "The API key has expired: make a new one in Label Studio (Account & Settings)"
            ) from error
        self._http = sdk._client_wrapper.httpx_client  # the one place where the SDK's public surface does not do
        self._timeout, self._api_key = timeout, api_key

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """One call; returns the parsed JSON, None if empty. Only GET is retried: a second POST would double."""
        options: Any = {"max_retries": 2 if method == "GET" else 0, "timeout": timeout or self._timeout}
        try:
            answer = self._http.request(path, method=method, json=body, params=params, request_options=options)
        except self._http_errors as error:
            raise UnreachableError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}): is it running, is the URL right?"
            ) from None
        except self._api_error as error:  # from refreshing a personal access token
            raise AccessDeniedError(
                f"Label Studio at {self.url} does not accept the API key (status {error.status_code})"
            ) from None
        if answer.is_success:
            try:
                return answer.json() if answer.content else None
            except ValueError:
                raise RequestRefusedError(
                    f"{method} {path}: Label Studio at {self.url} did not answer with JSON"
                ) from None
        content = answer.content.replace(self._api_key.encode(), b"the API key")  # should the server repeat it
        raise _failure(method, f"{self.url}/{path}", answer.status_code, content)

    def version(self) -> str:
        """Label Studio's release, for example 1.23.2. Raises LabelStudioError if something else answers there."""
        try:
            found = self.call("GET", "api/version")  # Label Studio tells it to anyone
        except (NotFoundError, AccessDeniedError):
            found = None
        if not isinstance(found, dict) or "release" not in found:
            raise RequestRefusedError(
                f"What answers at {self.url} is not Label Studio: check APPRENTICE_LABEL_STUDIO_URL"
            )
        return str(found["release"])

    def project(self, project: int) -> dict[str, Any]:
        """What is used of a project. The rest is left out: at 100,000 tasks, counting it takes seven times as long."""
        found = self.call("GET", f"api/projects/{project}", params={"include": _PROJECT_FIELDS})
        return found if isinstance(found, dict) else {}

    def label_config(self, project: int, timeout: float) -> str:
        """The labelling configuration alone, which costs Label Studio the same however many tasks there are."""
        params = {"include": "id,label_config"}
        found = self.call("GET", f"api/projects/{project}", params=params, timeout=timeout)
        return str(found.get("label_config") or "") if isinstance(found, dict) else ""

    def change_project(self, project: int, **values: Any) -> None:
        """Sets fields of a project. Only its number is asked back, for the same reason; without it, a 500 comes."""
        self.call("PATCH", f"api/projects/{project}", body=values, params={"include": "id"})

    def keep_tab(self, project: int, data: dict[str, Any], known: int | None) -> int:
        """The number of a tab of the Data Manager: `known` put right, or a new one if there is none."""
        body = {"project": project, "data": data}
        if known:
            with suppress(NotFoundError):
                return int(self.call("PATCH", f"api/dm/views/{known}/", body=body)["id"])
        return int(self.call("POST", "api/dm/views/", body=body)["id"])

    def pages(
        self, project: int, *, filters: Sequence[dict[str, Any]] = (), size: int | None = None, **params: Any
    ) -> Iterator[list[Any]]:
        """Tasks of the Data Manager in the order of their numbers, a page at a time; `filters` as it takes them. The
        next page is on its way meanwhile.

        Each page begins behind the last task of the one before, not at a number of tasks: what is deleted or added
        meanwhile moves no other task out of sight.
        """
        asked = {"project": project, "page": 1, "page_size": size or PAGE, "resolve_uri": "false", **params}

        def fetch(last: int) -> dict[str, Any]:
            behind = [id_filter("greater", last)] if last else []
            items = [*filters, *behind]
            query = {"ordering": ["tasks:id"], **({"filters": {"conjunction": "and", "items": items}} if items else {})}
            # a page may take long: no short time-out
            timeout = max(self._timeout, 120)
            return self.call("GET", "api/tasks", params={**asked, "query": json.dumps(query)}, timeout=timeout) or {}

        with ThreadPoolExecutor(1) as ahead:
            last, page = 0, ahead.submit(fetch, 0)
            while True:
                found = page.result()
                tasks = found.get("tasks") or []
                before, last = last, max(_numbers(tasks), default=0)
                more = last > before and int(found.get("total") or 0) > len(tasks)
                if more:
                    page = ahead.submit(fetch, last)
                yield tasks
                if not more:
                    return

    def existing(self, project: int, tasks: Iterable[int]) -> set[int]:
        """Those of some tasks that Label Studio has."""
        wanted, found = iter(sorted(tasks)), set()
        while chunk := list(islice(wanted, ASKED_BY_NUMBER)):
            for page in self.pages(project, filters=[id_filter("in_list", chunk)], fields="task_only", include="id"):
                found.update(_numbers(page))
        return found

    def close(self) -> None:
        self._connections.close()


def _numbers(tasks: Iterable[Any]) -> list[int]:
    return [task["id"] for task in tasks if isinstance(task, dict) and isinstance(task.get("id"), int)]


def id_filter(operator: str, value: object) -> dict[str, Any]:
    """The Data Manager's filter by the tasks' numbers."""
    return {"filter": "filter:tasks:id", "operator": operator, "type": "Number", "value": value}


def _failure(method: str, url: str, status: int, content: bytes) -> LabelStudioError:
    try:
        detail = json.loads(content).get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    said = f"{method} {url}: Label Studio answered {status}" + (f" ({str(detail)[:200]})" if detail else "")
    if "reserved network address" in str(detail):
        return RequestRefusedError(f"{said}. {PRIVATE}")
    if status in (401, 403):
        return AccessDeniedError(f"{said}: check the API key and what its user may do")
    if status == 404:
        return NotFoundError(f"{said}: are the address and the number right, and may the API key's user see it?")
    return RequestRefusedError(said)
