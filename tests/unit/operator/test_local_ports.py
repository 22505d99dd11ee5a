"""Ports that pods get on this machine."""

from plumbline_operator.local.ports import PortPool


def test_every_name_gets_a_port_of_its_own() -> None:
    with PortPool().keep(["engine", "guard"]) as ports:
        assert set(ports) == {"engine", "guard"}
        assert len(set(ports.values())) == 2


def test_ports_that_are_kept_are_not_given_out_again() -> None:
    pool = PortPool()
    with pool.keep(map(str, range(50))) as first, pool.keep(map(str, range(50))) as second:
        assert not set(first.values()) & set(second.values())
