"""Meshes: closed, facing outwards, of the promised size, light enough."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Polygon

from perception.synthetic.bodies import KINDS, draw_body
from perception.synthetic.ground_mesh import triangulate
from perception.synthetic.materials import Paint, Semantic
from perception.synthetic.mesh_builder import MeshBuilder, fit_mesh, merge_meshes, move_mesh
from perception.synthetic.scene import Mesh

GREY = Paint((128, 128, 128), 0.4)


def volume(mesh: Mesh) -> float:
    corners = mesh.vertices.astype(np.float64)[mesh.triangles]
    return float((np.cross(corners[:, 0], corners[:, 1]) * corners[:, 2]).sum()) / 6


def is_closed(mesh: Mesh) -> bool:
    edges = np.concatenate([mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]], mesh.triangles[:, [2, 0]]])
    forward = {tuple(edge) for edge in edges.tolist()}
    return all((b, a) in forward for a, b in forward) and len(forward) == len(edges)


def cube() -> Mesh:
    builder = MeshBuilder(Semantic.MANMADE)
    builder.box((1.0, 2.0, 3.0), (2.0, 4.0, 6.0), GREY, yaw=0.3)
    return builder.build()


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("moving", [False, True])
def test_every_body_is_closed_light_and_inside_its_box(kind, moving):
    body = draw_body(kind, np.random.default_rng(5), moving=moving)
    gap = np.array(body.size) / 2 - np.abs(body.mesh.vertices).max(axis=0)
    assert is_closed(body.mesh)
    assert volume(body.mesh) > 0
    assert 12 <= len(body.mesh.triangles) <= 800
    np.testing.assert_allclose(gap, [0.06, 0.06, 0.03], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "mean"),
    [("sedan", (4.68, 1.90, 1.55)), ("bus", (11.0, 2.85, 3.45)), ("cone", (0.42, 0.42, 1.02)),
     ("adult", (0.72, 0.68, 1.75))],
)
def test_sizes_scatter_around_their_mean(kind, mean):
    rng = np.random.default_rng(0)
    sizes = np.array([draw_body(kind, rng).size for _ in range(200)])
    np.testing.assert_allclose(sizes.mean(axis=0), mean, rtol=0.02)
    assert (sizes.std(axis=0) > 0.02 * np.array(mean)).all()


def test_a_rider_makes_a_bicycle_taller():
    still, ridden = (draw_body("bicycle", np.random.default_rng(1), moving=moving) for moving in (False, True))
    assert ridden.size[2] > 1.2 * still.size[2]


def test_the_same_body_has_the_same_mesh():
    first, second = (draw_body("suv", np.random.default_rng(2)).mesh for _ in range(2))
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.colors, second.colors)


def test_cars_have_dark_glass_and_bright_plates():
    mesh = draw_body("sedan", np.random.default_rng(0)).mesh
    assert mesh.reflectivity.min() < 0.05
    assert mesh.reflectivity.max() > 0.9
    assert (mesh.semantic == Semantic.CAR).all()


def test_volume_of_a_turned_box_by_hand():
    assert volume(cube()) == pytest.approx(48.0, rel=1e-5)


def test_a_loft_faces_outwards_whichever_way_it_is_given():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    for outline in (square, square[::-1]):
        builder = MeshBuilder(Semantic.MANMADE)
        builder.prism(outline, 0.0, 2.0, GREY)
        assert volume(builder.build()) == pytest.approx(2.0)


@pytest.mark.parametrize("end", [(0, 0, 3), (3, 0, 0), (1, 2, -2)])
def test_a_cylinder_has_the_volume_of_its_polygon(end):
    builder = MeshBuilder(Semantic.MANMADE)
    builder.cylinder((0, 0, 0), end, 0.5, GREY, sides=12)
    expected = 6 * 0.25 * np.sin(np.pi / 6) * np.linalg.norm(end)
    assert volume(builder.build()) == pytest.approx(expected, rel=1e-5)


def test_merging_keeps_every_triangle():
    merged = merge_meshes([cube(), move_mesh(cube(), (10.0, 0.0, 0.0), 1.0, (1.0, 1.0, 2.0))])
    assert volume(merged) == pytest.approx(48.0 * 3, rel=1e-4)
    assert len(merged.colors) == len(merged.triangles) == 24


@pytest.mark.parametrize("spacing", [0.8, 3.0])
def test_triangles_cover_a_polygon_with_a_hole_once(spacing):
    hole = [(2, 1), (2, 3), (4, 3), (4, 1)]
    polygon = Polygon([(0, 0), (8, 0), (8, 4), (4, 6), (0, 4)], [hole])
    points, triangles = triangulate(polygon, spacing)
    a, b, c = (points[triangles[:, index]] for index in range(3))
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(polygon.area)


def test_an_empty_builder_refuses_to_build():
    with pytest.raises(ValueError, match="at least one piece"):
        MeshBuilder(Semantic.CAR).build()


def test_a_flat_mesh_cannot_be_fitted():
    flat = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.uint32), np.zeros((1, 3), np.uint8),
                np.zeros(1, np.uint8), np.zeros(1, np.float32), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="extent along all axes"):
        fit_mesh(flat, (1.0, 1.0, 1.0))


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown kind 'tank', choose from .*'bus'"):
        draw_body("tank", np.random.default_rng(0))
