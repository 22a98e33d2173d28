"""The same work on several machines at the same time."""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import TypeVar

from onebaton.errors import OnebatonError
from onebaton.model import Host

T = TypeVar("T")


def on_each(hosts: Sequence[Host], work: Callable[[Host], T]) -> dict[Host, T | OnebatonError]:
    """What the work gave on each machine, or the error it ended with there; waits for all.

    The work has deadlines of its own.
    """
    if not hosts:
        return {}
    with concurrent.futures.ThreadPoolExecutor(
        max_workers=len(hosts), thread_name_prefix="each"
    ) as pool:
        running = {host: pool.submit(_answer, work, host) for host in hosts}
        return {host: future.result() for host, future in running.items()}


def on_all(hosts: Sequence[Host], work: Callable[[Host], T]) -> dict[Host, T]:
    """The same, where each must succeed.

    :raises OnebatonError: the first error, once all have ended.
    """
    done: dict[Host, T] = {}
    for host, answer in on_each(hosts, work).items():
        if isinstance(answer, OnebatonError):
            raise answer
        done[host] = answer
    return done


def _answer(work: Callable[[Host], T], host: Host) -> T | OnebatonError:
    try:
        return work(host)
    except OnebatonError as error:
        return error
