"""How a node is reached: pyinfra's own connection keys, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nodeproof.settings.types import Port, ServerName, grammar

Text = Annotated[str, grammar(r"^[^\x00-\x1f\x7f]+$", "text on one line", longest=4096)]
LoginName = Annotated[
    str,
    grammar(r"^[A-Za-z0-9_][A-Za-z0-9._@\\-]*$", "a user name: letters, digits, . _ @ \\ and -"),
]


class Connection(BaseModel):
    """Connection keys of pyinfra's ssh connector; names and meanings are pyinfra's.

    Source: https://docs.pyinfra.com/en/3.x/connectors/ssh.html
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ssh_hostname: ServerName | None = None
    ssh_port: Port | None = None
    ssh_user: LoginName | None = None
    ssh_password: Text | None = Field(None, repr=False)
    ssh_key: Text | None = None
    ssh_key_password: Text | None = Field(None, repr=False)
    ssh_allow_agent: bool | None = None
    ssh_look_for_keys: bool | None = None
    ssh_forward_agent: bool | None = None
    ssh_config_file: Text | None = None
    ssh_known_hosts_file: Text | None = None
    ssh_strict_host_key_checking: Literal["yes"] | None = None
    ssh_paramiko_connect_kwargs: dict[str, Any] | None = Field(None, repr=False)
    ssh_connect_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    ssh_connect_retry_min_delay: float | None = None
    ssh_connect_retry_max_delay: float | None = None
    ssh_file_transfer_protocol: Literal["sftp", "scp"] | None = None


CONNECTOR_KEYS = frozenset(Connection.model_fields)
