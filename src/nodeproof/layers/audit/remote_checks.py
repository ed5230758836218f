"""The copy on another machine: sent, over TLS, to whom it is for."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.layers.audit.settings import Remote, Settings, Shipper

FOLDER = "/etc/ssl/nodeproof-audit"
WEEK_S = 7 * 24 * 3600


@pytest.fixture
def remote(settings: Settings) -> Remote:
    """Return who gets the copy; skip where nobody does."""
    if settings.remote is None:
        pytest.skip("no copy on another machine is asked for (remote)")
    return settings.remote


@pytest.mark.control("NP-AUD-11")
def test_copy_is_sent(host: Host, remote: Remote, distribution: Distribution) -> None:
    """A sender that has no connection fills its queue, and the copy ends where trouble began."""
    unit = distribution.units[remote.how.value]
    state = host.check_output("systemctl show -p ActiveState,UnitFileState -- %s", unit)
    assert "ActiveState=active" in state, f"{unit} does not run"
    assert "UnitFileState=enabled" in state, f"{unit} does not start at boot"
    sender = {Shipper.RSYSLOG: "rsyslogd", Shipper.JOURNAL_UPLOAD: "systemd-journal"}[remote.how]
    lines = host.check_output("ss -tnpH state established dport = :%s", str(remote.to_port))
    assert f'"{sender}' in lines, f"{unit} has no connection to port {remote.to_port}"


@pytest.mark.control("NP-AUD-11")
def test_receiver_is_who_it_says(host: Host, remote: Remote) -> None:
    """A copy for whoever answers is a copy for an attacker, too."""
    own = f" -cert {FOLDER}/node.pem -key {FOLDER}/node.key" if remote.own else ""
    tried = host.run(
        f"openssl s_client -connect %s -verify_return_error -verify_hostname %s "
        f"-CAfile {FOLDER}/ca.pem{own} -brief </dev/null",
        f"{remote.host}:{remote.to_port}",
        remote.host,
    )
    assert tried.succeeded, f"{remote.host}: {tried.stderr.strip().splitlines()[-1:]}"


@pytest.mark.control("NP-AUD-11")
def test_certificates_last(host: Host, remote: Remote) -> None:
    """The copy ends with the first certificate that does."""
    names = ["ca", "node"] if remote.own else ["ca"]
    for name in names:
        ends = host.run(f"openssl x509 -checkend {WEEK_S} -noout -in {FOLDER}/{name}.pem")
        assert ends.succeeded, f"{FOLDER}/{name}.pem ends within a week: {ends.stdout.strip()}"
    loose = host.check_output(f"find {FOLDER} -name '*.key' -perm /077")
    assert not loose, f"open to others: {loose}"
