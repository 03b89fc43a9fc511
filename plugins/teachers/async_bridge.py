"""An asynchronous generator for a caller who knows of no event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def iterate(source: AsyncGenerator[T]) -> Iterator[T]:
    """Yields what `source` yields. It runs in a thread of its own: what it has begun goes on while the caller is
    busy, what comes next waits for the caller. When the caller stops, all that is under way there is cancelled at once.
    """
    started: Future[asyncio.AbstractEventLoop] = Future()
    thread = Thread(target=_run, args=(started,), name="teacher")
    thread.start()
    loop = started.result()
    try:
        while True:
            try:
                yield asyncio.run_coroutine_threadsafe(_next(source), loop).result()
            except StopAsyncIteration:
                return
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _run(started: Future[asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner() as runner:  # on leaving, it cancels the tasks and closes the generators
        started.set_result(runner.get_loop())
        runner.get_loop().run_forever()


async def _next(source: AsyncGenerator[T]) -> T:
    return await anext(source)
