"""So many calls wait at a time, and no address takes the places of the others."""

from contextlib import ExitStack

from magister.web.waiting import PAUSE, Place, WaitingRoom


def entered(stack: ExitStack, room: WaitingRoom, *clients: str) -> list[Place | None]:
    return [stack.enter_context(room.place(client, 30.0)) for client in clients]


def test_so_many_calls_wait_and_one_more_does_not() -> None:
    with ExitStack() as stack:
        places = entered(stack, WaitingRoom(2), "203.0.113.1", "203.0.113.2", "203.0.113.3")
        assert [place is not None and not place.lost for place in places] == [True, True, False]


def test_a_place_is_free_again_once_its_call_is_answered() -> None:
    room = WaitingRoom(1)
    for _ in range(3):
        with room.place("203.0.113.1", 30.0) as place:
            assert place is not None


def test_an_address_that_takes_all_places_gives_one_up_for_another() -> None:
    with ExitStack() as stack:
        many = ["203.0.113.1"] * 3
        flood, worker = (*entered(stack, room := WaitingRoom(3), *many),), "203.0.113.2"
        (place,) = entered(stack, room, worker)
        assert place is not None
        assert [each.lost for each in flood if each] == [False, False, True]  # it waited least
        assert entered(stack, room, "203.0.113.1") == [None]


def test_a_network_of_ipv6_is_one_client_and_addresses_of_ipv4_are_not() -> None:
    with ExitStack() as stack:
        room = WaitingRoom(2)
        flood = entered(stack, room, "2001:db8::1", "2001:db8::2")
        assert entered(stack, room, "2001:db8::3") == [None]
        assert entered(stack, room, "::ffff:203.0.113.1") != [None]
        assert [each.lost for each in flood if each] == [False, True]
    with ExitStack() as stack:
        assert None not in entered(stack, room, "::ffff:203.0.113.1", "::ffff:203.0.113.2")


def test_the_more_wait_the_longer_each_pauses_between_two_tries() -> None:
    with ExitStack() as stack:
        room = WaitingRoom(100)
        assert room.pause() == PAUSE
        entered(stack, room, *(f"203.0.113.{number}" for number in range(90)))
        assert room.pause() == 1.5
