"""The mirrors of this process: pulled before work, pushed wherever a run can go on from, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reverse_codi.storage.mirror import Mirror, MirrorError

log = logging.getLogger(__name__)

_active: list[Mirror] = []


@contextmanager
def mirrored(mirrors: Sequence[Mirror]) -> Iterator[None]:
    """Pull, and push at the end of the block, whether it fails or not; `push_all` pushes meanwhile.

    Args:
        mirrors: in the order in which they are pushed: what others depend on comes first.

    Raises:
        MirrorError: a URL cannot be read; or, after a block that did not fail, not be written.
    """
    for mirror in mirrors:
        fetched = mirror.pull()
        log.info(f"{mirror.key} = {mirror.url}: {fetched} files fetched; work goes on in {mirror.folder}")
    _active.extend(mirrors)
    try:
        yield
    except BaseException:
        push_all()
        raise
    else:
        for mirror in mirrors:
            mirror.push()
    finally:
        for mirror in mirrors:
            _active.remove(mirror)


def push_all() -> None:
    """Push what is mirrored in this process, nothing where nothing is.

    A URL that cannot be written now is a warning: the next push brings everything. The one at a run's end is
    an error.
    """
    for mirror in _active:
        try:
            if sent := mirror.push():
                log.info(f"{sent} files sent to {mirror.url}")
        except MirrorError as error:
            log.warning(f"{error}; what the run has lies in {mirror.folder}")
