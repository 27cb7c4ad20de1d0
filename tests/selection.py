"""In which order tests run, and which of them touch a service that may be a real one."""

import pytest

#: A test that asks for one of these fixtures touches a service.
SERVICES = {"postgres_url", "redis_url", "amqp_url"}
#: Files that take long begin first, so that at the end no worker sits and waits for another.
LONG = (
    "test_hostile", "test_leaks", "test_demo", "test_report", "test_notebooks", "test_howto", "test_bench",
    "test_browser", "test_tls", "test_pictures", "test_replay", "test_rabbitmq_safety", "test_scan", "test_house",
    "test_silence", "test_celery_broker", "test_rabbitmq_hand", "test_starter", "test_docs",
)  # fmt: skip


def place(item: pytest.Item) -> int:
    """Where a test stands: the long files, then the notebooks, then the rest as it was collected."""
    if item.path.stem in LONG:
        return LONG.index(item.path.stem)
    return len(LONG) + (item.path.suffix != ".ipynb")


def touches(item: pytest.Item) -> bool:
    """Whether a test has a fixture of SERVICES, or a parameter by which a fixture of its own takes one of them."""
    callspec = getattr(item, "callspec", None)
    words = callspec.params.values() if callspec else ()
    taken = {f"{word}_url" for word in words if isinstance(word, str)}
    return bool(SERVICES & taken.union(getattr(item, "fixturenames", ())))
