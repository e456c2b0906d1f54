"""`lossarium explain`: the description of every loss."""

from dataclasses import replace

import pytest

from lossarium import losses
from lossarium.cli.main import main
from lossarium.losses import built_in, registry, spec
from lossarium.losses.card import options_explained, title
from tests.cli.terminal_output import printed


def squeezed(lines) -> str:
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", losses.names())
def test_a_card_tells_all_that_is_declared(capsys, monkeypatch, name, width):
    lines = printed(["explain", name], capsys, monkeypatch, width)
    assert max(map(len, lines)) <= width
    card, info = squeezed(lines), losses.info(name)
    declared = (
        info.formula, info.range, info.source, info.gradient, info.artefacts, info.good_at, info.bad_at,
        info.when, info.family, info.not_minimised, title(info),
    )  # fmt: skip
    for text in declared:
        assert squeezed([text]) in card
    for option, default in info.options.items():
        assert f"{option}={spec.option_text(default)}" in card


@pytest.mark.parametrize("name", losses.names())
def test_the_spec_to_type_is_one_of_the_loss(capsys, monkeypatch, name):
    lines = printed(["explain", name], capsys, monkeypatch, 1000)
    place = next(place for place, line in enumerate(lines) if line.startswith("to type"))
    for line in filter(None, (line.removeprefix("to type").strip() for line in lines[place:])):
        text = line.removeprefix("lossarium measure REF TEST --losses ").strip("'")
        (term,) = spec.parse(text, measures=True).terms
        assert term.name == name
        assert dict(term.options) in ({}, losses.info(name).options)
        assert line.startswith("lossarium measure") == (not losses.info(name).objective)


def test_every_option_is_explained():
    unexplained = [
        f"{loss.name}({option})"
        for loss in built_in.LOSSES
        for option, text in options_explained(loss).items()
        if not text
    ]
    assert not unexplained


def test_without_docstrings_the_card_shows_the_other_entries(capsys, monkeypatch):
    def undocumented(input, target, *, slope=2.0, weight=None, reduction="mean"):  # noqa: ARG001
        return input

    loss = replace(registry.info("mae"), name="undocumented", function=undocumented)
    monkeypatch.setattr(built_in, "LOSSES", (loss,))
    assert "slope=2" in squeezed(printed(["explain", "undocumented"], capsys, monkeypatch))


def test_each_term_of_a_spec_is_explained_with_its_options(capsys, monkeypatch):
    lines = printed(["explain", "ssim + 0.5*smooth_l1(beta=0.1)"], capsys, monkeypatch)
    headings = [line.split("  ")[0] for line in lines if "(pixel)" in line or "(structure)" in line]
    assert headings == ["ssim", "0.5*smooth_l1(beta=0.1)"]
    assert "Default: 0.05." in squeezed(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sim", 'there is no loss "sim"; did you mean ssim'),
        ("ssim + mea", "did you mean"),
        ("ssim(windw=7)", "did you mean window?"),
        ("", "the name of a loss is expected"),
    ],
)
def test_an_unknown_loss_is_refused_with_the_nearest_names(capsys, text, said):
    assert main(["explain", text]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lossarium: error: ")
    assert said in error
