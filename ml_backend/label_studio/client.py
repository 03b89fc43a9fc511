"""Calls Label Studio's API through the HTTP client of its SDK, which handles both kinds of tokens, retries and
Retry-After.

The SDK's typed methods are not used: parsing 10,000 tasks into the SDK's models takes longer than fetching the tasks,
and some of the models drop fields that the queue needs.
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

PAGE_TASKS = 5000  # larger pages are no faster and keep annotators waiting
MAX_IDS_PER_REQUEST = 500  # bounds the length of the URL, which holds the ids of the tasks
_PROJECT_FIELDS = (
    "id,created_at,label_config,model_version,sampling,show_collab_predictions,"
    "skip_queue,maximum_annotations,task_number,total_annotations_number,skipped_annotations_number"
)
PRIVATE_ADDRESS_HINT = (
    "Label Studio does not call private addresses: start it with both ML_BLOCK_LOCAL_IP=false and "
    "SSRF_PROTECTION_ENABLED=false, or give this backend a public address (APPRENTICE_PUBLIC_URL)"
)


class LabelStudioClient:
    """The client of one Label Studio server. It is safe to use from several threads."""

    def __init__(self, url: str, api_key: str, timeout: float = 20.0, page_tasks: int = PAGE_TASKS) -> None:
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
        # measured on 1.23: the server responds 40 ms later on a kept-alive connection than on a new one
        self._connections = httpx.Client(timeout=timeout, headers={"Connection": "close"})
        try:
            sdk_class: Any = LabelStudio
            sdk = sdk_class(base_url=self.url, api_key=api_key, httpx_client=self._connections)
        except ApiError as error:
            raise AccessDeniedError(
                "The API key has expired: make a new one in Label Studio (Account & Settings)"
            ) from error
        self._http = sdk._client_wrapper.httpx_client  # the SDK has no public way to this client
        self._timeout, self._api_key = timeout, api_key
        self._page_tasks = page_tasks

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Sends one request and returns the parsed JSON of the response, None if the response is empty.

        Only GET is retried, because a repeated POST could create an object twice. Raises a LabelStudioError: see
        `core.exceptions`.
        """
        options: Any = {"max_retries": 2 if method == "GET" else 0, "timeout": timeout or self._timeout}
        try:
            response = self._http.request(path, method=method, json=body, params=params, request_options=options)
        except self._http_errors as error:
            raise UnreachableError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}): is it running, is the URL right?"
            ) from None
        except self._api_error as error:  # from refreshing a personal access token
            raise AccessDeniedError(
                f"Label Studio at {self.url} does not accept the API key (status {error.status_code})"
            ) from None
        if response.is_success:
            try:
                return response.json() if response.content else None
            except ValueError:
                raise RequestRefusedError(
                    f"{method} {path}: Label Studio at {self.url} did not answer with JSON"
                ) from None
        content = response.content.replace(self._api_key.encode(), b"the API key")  # the server may repeat the key
        raise _failure(method, f"{self.url}/{path}", response.status_code, content)

    def version(self) -> str:
        """Label Studio's release, for example 1.23.2. Raises LabelStudioError if the server is not a Label Studio."""
        try:
            version = self.call("GET", "api/version")  # a Label Studio needs no valid API key for this
        except (NotFoundError, AccessDeniedError):
            version = None
        if not isinstance(version, dict) or "release" not in version:
            raise RequestRefusedError(
                f"The server at {self.url} is not Label Studio: check APPRENTICE_LABEL_STUDIO_URL"
            )
        return str(version["release"])

    def project(self, project: int) -> dict[str, Any]:
        """The fields of a project that Apprentice uses. With all fields, Label Studio takes seven times as long at
        100,000 tasks, because some of them are counts."""
        fields = self.call("GET", f"api/projects/{project}", params={"include": _PROJECT_FIELDS})
        return fields if isinstance(fields, dict) else {}

    def label_config(self, project: int, timeout: float) -> str:
        """The labelling configuration of a project; the time that this takes does not grow with the number of tasks."""
        params = {"include": "id,label_config"}
        fields = self.call("GET", f"api/projects/{project}", params=params, timeout=timeout)
        return str(fields.get("label_config") or "") if isinstance(fields, dict) else ""

    def change_project(self, project: int, **values: Any) -> None:
        """Sets fields of a project. The response includes only the id: all fields would take long (see `project`), and
        without the id Label Studio responds with status 500.

        Measured on 1.23: Label Studio reads the project, checks the values, and then writes all fields, without a
        transaction. If another client saves the project between the reading and the writing, for example with another
        labelling configuration, its change is lost, and the response does not show this.
        """
        self.call("PATCH", f"api/projects/{project}", body=values, params={"include": "id"})

    def save_tab(self, project: int, data: dict[str, Any], tab_id: int | None) -> int:
        """Updates the tab `tab_id` of the Data Manager, or creates a tab if that does not exist; returns the tab's
        id."""
        body = {"project": project, "data": data}
        if tab_id:
            with suppress(NotFoundError):
                return int(self.call("PATCH", f"api/dm/views/{tab_id}/", body=body)["id"])
        return int(self.call("POST", "api/dm/views/", body=body)["id"])

    def task_pages(
        self, project: int, *, filters: Sequence[dict[str, Any]] = (), size: int | None = None, **params: Any
    ) -> Iterator[list[Any]]:
        """Yields the tasks of a project in pages of `size`, in ascending order of their ids. The next page is fetched
        while the caller handles the current one.

        Each page begins after the last id of the previous page, not at an offset: a task that is deleted or added
        meanwhile makes no other task be skipped.

        filters  conditions in the Data Manager's format; a task must meet all of them
        """
        page_params = {
            "project": project,
            "page": 1,
            "page_size": size or self._page_tasks,
            "resolve_uri": "false",
            **params,
        }

        def fetch(last_id: int) -> dict[str, Any]:
            items = [*filters, *([id_filter("greater", last_id)] if last_id else [])]
            query = {"ordering": ["tasks:id"], **({"filters": {"conjunction": "and", "items": items}} if items else {})}
            timeout = max(self._timeout, 120)  # a page may take long
            request_params = {**page_params, "query": json.dumps(query)}
            return self.call("GET", "api/tasks", params=request_params, timeout=timeout) or {}

        with ThreadPoolExecutor(1) as executor:
            last_id, next_page = 0, executor.submit(fetch, 0)
            while True:
                page = next_page.result()
                tasks = page.get("tasks") or []
                previous_last_id, last_id = last_id, max(_ids(tasks), default=0)
                has_more = last_id > previous_last_id and int(page.get("total") or 0) > len(tasks)
                if has_more:
                    next_page = executor.submit(fetch, last_id)
                yield tasks
                if not has_more:
                    return

    def existing_task_ids(self, project: int, tasks: Iterable[int]) -> set[int]:
        """The ids in `tasks` of the tasks that exist in Label Studio."""
        remaining, existing_ids = iter(sorted(tasks)), set()
        while chunk := list(islice(remaining, MAX_IDS_PER_REQUEST)):
            for page in self.task_pages(
                project, filters=[id_filter("in_list", chunk)], fields="task_only", include="id"
            ):
                existing_ids.update(_ids(page))
        return existing_ids

    def close(self) -> None:
        self._connections.close()


def _ids(tasks: Iterable[Any]) -> list[int]:
    return [task["id"] for task in tasks if isinstance(task, dict) and isinstance(task.get("id"), int)]


def id_filter(operator: str, value: object) -> dict[str, Any]:
    """A filter of the Data Manager by the ids of tasks."""
    return {"filter": "filter:tasks:id", "operator": operator, "type": "Number", "value": value}


def _failure(method: str, url: str, status: int, content: bytes) -> LabelStudioError:
    try:
        detail = json.loads(content).get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    message = f"{method} {url}: Label Studio answered {status}" + (f" ({str(detail)[:200]})" if detail else "")
    if "reserved network address" in str(detail):
        return RequestRefusedError(f"{message}. {PRIVATE_ADDRESS_HINT}")
    if status in (401, 403):
        return AccessDeniedError(f"{message}: check the API key and the permissions of its user")
    if status == 404:
        return NotFoundError(f"{message}: check the address and the number, and whether the API key's user has access")
    return RequestRefusedError(message)
