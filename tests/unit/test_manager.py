"""Who counts as connected to a namespace."""

from types import SimpleNamespace

from reminder.websocket.server import Manager, Packet


def test_who_is_not_let_in_yet_is_told_nothing() -> None:
    manager = Manager()
    manager.set_server(SimpleNamespace(eio=SimpleNamespace(generate_id=lambda: 'sid'), packet_class=Packet))
    # Given somebody who asks to be let in
    sid = manager.pre_connect('eio', '/admin')
    assert list(manager.get_participants('/admin', None)) == []
    # When that is decided
    manager.connect(sid, '/admin')
    # Then they are among those who are told something
    assert list(manager.get_participants('/admin', None)) == [('sid', 'eio')]
