"""Where the admin API is: `admin+https://host/api/v1/admin/dlq`, and what its sentences say."""

from typing import Any

from dlqanalysis.sources._http import Api, Client

ADMIN = Api(
    scheme="admin",
    title="an admin API",
    usual_path="/api/v1/admin/dlq",
    begins="/tasks and /stats",
    right="an account with the admin role",
)


def open_client(
    url: str, token: str | None = None, *, token_name: str = "DLQ_ADMIN_TOKEN", **options: Any
) -> Client:
    """A client for the URL, which may end in /tasks; timeout, tries, longest_wait and sleep are options."""
    place = url.rstrip("/").removesuffix("/tasks")
    return Client(ADMIN, place, token, token_name=token_name, **options)
