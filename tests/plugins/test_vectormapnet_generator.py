"""The polyline generator: what it keeps between steps changes nothing, and how it draws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_polylines import generate_from_the_start, generate_with_projections_anew
from torch import Tensor

from perception_plugins.vectormapnet.generator import Condition, PolylineGenerator
from perception_plugins.vectormapnet.generator_layers import LineSlots
from perception_plugins.vectormapnet.losses import length_chunks
from perception_plugins.vectormapnet.sampling import median_token, nucleus_logits, pick
from perception_plugins.vectormapnet.tokens import Canvas

CANVAS = Canvas(size=(12, 6))
IMAGES = torch.tensor([1, 0, 3, 1, 1, 0])                                   # of four; the third has no line
MAX_VERTICES = 9
close = torch.testing.assert_close


def random_generator(seed: int = 3) -> PolylineGenerator:
    """Small, with gates open and logits far apart, and a taste for stopping after a few vertices."""
    torch.manual_seed(seed)
    generator = PolylineGenerator(5, 3, CANVAS, channels=16, heads=4, layers=3, hidden=24, max_positions=20).eval()
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if "table" in name or "gate" in name:
                weight.copy_(1.0 if "gate" in name else torch.randn(weight.shape))
        generator.to_logits.weight.mul_(6.0)
        generator.to_logits.bias[0] = 2.0
    return generator


def random_bev(seed: int = 0) -> Tensor:
    return torch.randn(4, 5, 3, 4, generator=torch.Generator().manual_seed(seed))


def random_condition(images: Tensor = IMAGES, seed: int = 0) -> Condition:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (len(images),), generator=draw)
    return Condition(labels, torch.randint(0, 7, (len(images), 4), generator=draw), images)


def generate(
    generator: PolylineGenerator, condition: Condition, bev: Tensor | None = None, **options: object
) -> Tensor:
    memory = generator.read(random_bev() if bev is None else bev)
    return generator.generate(memory, condition, max_vertices=MAX_VERTICES, **options)


def uniform(rows: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, 2 * MAX_VERTICES + 1, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_between_steps_changes_no_token(seed):
    generator, condition = random_generator(seed), random_condition(seed=seed)
    tokens = generate(generator, condition, random_bev(seed))
    assert len(set(map(tuple, tokens.tolist()))) > 1
    assert torch.equal(tokens, generate_from_the_start(generator, random_bev(seed), condition, MAX_VERTICES))
    with torch.no_grad():
        anew = generate_with_projections_anew(generator, random_bev(seed), condition, MAX_VERTICES)
    assert torch.equal(tokens, anew)


@pytest.mark.parametrize("tokens", [1, 5])
def test_reading_the_cache_in_place_is_the_attention_of_training(tokens):
    generator = random_generator()
    attention = generator.decoder.stack()[0].self_attn
    room = torch.randn(2, 3, 4, 40, 4)                       # keys and values of 3 lines, 4 heads, room for 40 tokens
    query, key, value = torch.randn(3, 4, tokens, 4), *room[..., :13, :]
    close(attention.decode(query, key, value), attention.mix(query, key, value))


def test_some_lines_stop_and_others_run_to_the_end_in_these_tests():
    tokens = torch.cat([generate(random_generator(s), random_condition(seed=s), random_bev(s)) for s in range(4)])
    stopped = (tokens == 0).any(dim=1)
    assert stopped.any()
    assert not stopped.all()


def test_tokens_are_vertices_up_to_a_stop_and_stops_after_it():
    tokens = generate(random_generator(), random_condition(), mass=1.0, noise=uniform(6))
    stopped = (tokens == 0).cummax(dim=1).values
    assert (tokens[stopped] == 0).all()
    assert (tokens[:, 1::2] <= 6).all()
    assert (stopped.sum(dim=1) % 2 == 1)[stopped.any(dim=1)].all()          # it stops in place of an x


@settings(max_examples=8)
@given(order=st.permutations(range(len(IMAGES))), mass=st.sampled_from([0.0, 0.9]))
def test_another_order_of_the_elements_only_reorders_their_lines(order, mass):
    generator, condition, rows, noise = random_generator(), random_condition(), torch.tensor(order), uniform(6)
    tokens = generate(generator, condition, mass=mass, noise=noise)
    assert torch.equal(generate(generator, condition[rows], mass=mass, noise=noise[rows]), tokens[rows])


def test_a_line_does_not_depend_on_the_others():
    generator, condition = random_generator(), random_condition()
    together = generate(generator, condition)
    alone = [generate(generator, condition[torch.tensor([row])]) for row in range(len(condition))]
    assert torch.equal(together, torch.cat(alone))


def test_drawing_from_no_mass_takes_the_likeliest_token():
    generator, condition = random_generator(), random_condition()
    greedy = generate(generator, condition)
    assert torch.equal(generate(generator, condition, mass=0.0, noise=uniform(6)), greedy)
    assert torch.equal(generate(generator, condition, mass=1e-6, noise=uniform(6)), greedy)


def test_the_same_noise_draws_the_same_lines_and_other_noise_others():
    generator, condition = random_generator(), random_condition()
    first, again, other = (generate(generator, condition, mass=0.95, noise=uniform(6, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_element_gives_no_line():
    tokens = generate(random_generator(), random_condition(IMAGES[:0]))
    assert tokens.shape == (0, 2 * MAX_VERTICES + 1)


def test_teacher_forcing_foretells_what_generating_writes():
    generator, condition = random_generator(), random_condition()
    tokens = generate(generator, condition)
    logits = generator(generator.read(random_bev()), condition, tokens)
    before = torch.cat([tokens.new_ones(6, 1), tokens[:, :-1]], dim=1)
    assert torch.equal(logits.argmax(dim=2)[before != 0], tokens[before != 0])


def test_a_foretold_token_does_not_know_itself_or_what_comes_after():
    generator, condition = random_generator(), random_condition()
    tokens = generate(generator, condition, mass=1.0, noise=uniform(6))
    changed = tokens.clone()
    changed[:, 6:] = 1
    logits = [generator(generator.read(random_bev()), condition, some)[:, :7] for some in (tokens, changed)]
    close(*logits, atol=1e-5, rtol=1e-5)                                    # sums over other paddings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_vertices": 21}, r"max_vertices must lie in \[1, 20\], got 21"),
        ({"mass": 1.5}, r"mass must lie in \[0, 1\], got 1.5"),
        ({"mass": 0.9}, r"noise must be \(6, 129\) to sample from a mass of 0.9, got None"),
    ],
)
def test_generating_refuses(options, message):
    generator = random_generator() if "max_vertices" in options else PolylineGenerator(5, 3, CANVAS, channels=8)
    with pytest.raises(ValueError, match=message):
        generator.generate(generator.read(random_bev()), random_condition(), **options)


def test_teacher_forcing_refuses_a_line_beyond_the_position_codes():
    generator = random_generator()
    with pytest.raises(ValueError, match="tokens must have at most 41 columns, got 43"):
        generator(generator.read(random_bev()), random_condition(), torch.ones(6, 43, dtype=torch.int64))


@given(images=st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_slots_give_back_what_they_take_and_keep_images_apart(images):
    slots, tokens = LineSlots(torch.tensor(images), 5), torch.rand(len(images), 2, 3)
    packed = slots.pack(tokens)
    close(slots.unpack(packed, 2), tokens, atol=0, rtol=0)
    for image in range(5):
        close(packed[image].sum(), tokens[torch.tensor(images) == image].sum())


@given(logits=st.lists(st.floats(-5.0, 5.0, width=32), min_size=2, max_size=10), mass=st.floats(0.0, 1.0))
def test_the_nucleus_is_the_smallest_set_that_crosses_the_mass(logits, mass):
    row = torch.tensor(logits, dtype=torch.float64)
    kept = nucleus_logits(row[None], mass)[0] == row
    falling = row.softmax(dim=0)[row.argsort(descending=True, stable=True)]
    size = int(kept.sum())
    assert size >= 1
    assert kept[row.argsort(descending=True, stable=True)][:size].all()      # the likeliest ones
    assert falling[: size - 1].sum() <= mass + 1e-9
    assert size == len(row) or falling[:size].sum() > mass - 1e-9


def test_draws_follow_the_probabilities():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(10_000, 3)
    noise = (torch.arange(10_000) + 0.5) / 10_000
    assert torch.bincount(pick(logits, 1.0, noise), minlength=3).tolist() == [5000, 3000, 2000]
    assert torch.bincount(pick(logits, 0.4, noise), minlength=3).tolist() == [10_000, 0, 0]
    assert torch.bincount(pick(logits, 0.6, noise), minlength=3).tolist() == [6250, 3750, 0]


def test_a_draw_never_takes_what_has_no_probability():
    logits = torch.tensor([[-1e9, 0.0, -1e9]]).expand(2, 3)
    assert pick(logits, 1.0, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 1]


def test_drawing_without_noise_is_refused():
    with pytest.raises(ValueError, match=r"noise is needed to sample from a mass of 0\.5"):
        pick(torch.zeros(1, 3), 0.5, None)


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [([5, 21, 5, 7], [[0, 2, 3], [1]]), ([5, 5, 5], [[0, 1, 2]]), ([9], [[0]]), ([], [[]])],
)
def test_long_lines_are_parted_from_short_ones(lengths, parts):
    chunks = length_chunks(torch.tensor(lengths, dtype=torch.int64))
    assert [sorted(chunk.tolist()) for chunk in chunks] == parts


def test_the_median_halves_the_probability_of_all_places_unless_a_stop_is_likeliest():
    places = torch.tensor([[0.2, 0.3, 0.0, 0.25, 0.25], [0.4, 0.3, 0.3, 0.0, 0.0], [0.0, 0.1, 0.1, 0.7, 0.1]]).log()
    assert median_token(places).tolist() == [3, 0, 3]
    assert pick(places, 0.0, None, median=True).tolist() == [3, 0, 3]
    assert pick(places, 0.0, None).tolist() == [1, 0, 3]


def test_lines_of_medians_do_not_depend_on_the_others_of_their_batch():
    generator, condition = random_generator(), random_condition()
    together = generate(generator, condition, median=True)
    for row in range(len(condition)):
        alone = generate(generator, condition[torch.tensor([row])], median=True)
        assert torch.equal(alone[0], together[row])
