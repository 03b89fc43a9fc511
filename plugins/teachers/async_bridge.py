"""Runs an asynchronous generator for a caller without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")


def iterate(source: AsyncGenerator[Item]) -> Iterator[Item]:
    """Yields the items of `source`, which runs in a thread of its own. Tasks that it has started go on while the caller
    is busy; the next item waits for the caller. When the caller stops, all tasks under way are cancelled at once."""
    started_loop: Future[asyncio.AbstractEventLoop] = Future()
    thread = Thread(target=_run, args=(started_loop,), name="teacher")
    thread.start()
    loop = started_loop.result()
    try:
        while True:
            try:
                yield asyncio.run_coroutine_threadsafe(_next(source), loop).result()
            except StopAsyncIteration:
                return
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _run(started_loop: Future[asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner() as runner:  # on exit, it cancels the tasks and closes the generators
        started_loop.set_result(runner.get_loop())
        runner.get_loop().run_forever()


async def _next(source: AsyncGenerator[Item]) -> Item:
    return await anext(source)
