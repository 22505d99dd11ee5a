"""What a training stage makes of the keys it is given: it ends before it trains, or it signs."""

from pathlib import Path

import pytest

from plumbline_api.names import ENV_SIGNING_KEY, ENV_TRUST
from plumbline_store import KeyUnusable
from plumbline_trainer.failures import BadConfiguration, BadSpec
from plumbline_trainer.settings import Signatures, read_signatures, read_trust
from tests.support.signing import make_pair


def test_without_keys_nothing_is_signed_and_nothing_is_asked_for() -> None:
    assert read_signatures({}) == Signatures(None, None)
    assert Signatures().of_outputs is None


def test_who_signs_trusts_at_least_itself(tmp_path: Path) -> None:
    pair, other = make_pair(tmp_path), make_pair(tmp_path, "other")
    alone = read_signatures({ENV_SIGNING_KEY: str(pair.key_file)})
    assert alone.trust is None
    assert alone.of_outputs is not None
    assert alone.of_outputs.names == (pair.key.name,)
    both = read_signatures({ENV_SIGNING_KEY: str(pair.key_file), ENV_TRUST: pair.public + other.public})
    assert both.of_outputs is both.trust
    assert both.trust is not None
    assert set(both.trust.names) == {pair.key.name, other.key.name}


def test_an_output_that_nobody_here_would_trust_is_refused_before_it_is_made(tmp_path: Path) -> None:
    pair, other = make_pair(tmp_path), make_pair(tmp_path, "other")
    with pytest.raises(BadSpec, match=r"spec\.output\.sign: only signed models are trusted here"):
        read_signatures({ENV_TRUST: pair.public})
    with pytest.raises(BadConfiguration, match="is not one of the 1 that are trusted here"):
        read_signatures({ENV_TRUST: pair.public, ENV_SIGNING_KEY: str(other.key_file)})


@pytest.mark.parametrize("text", ["", " ", "nonsense", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"])
def test_trust_without_a_key_is_an_error_and_not_none(text: str) -> None:
    with pytest.raises(KeyUnusable, match=ENV_TRUST):
        read_trust({ENV_TRUST: text})


def test_a_key_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="cannot be read"):
        read_signatures({ENV_SIGNING_KEY: str(tmp_path / "absent")})
