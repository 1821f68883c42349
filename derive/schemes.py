"""A catalogue of classical schemes for u_t = −a u_x and u_t = d u_xx.

The mesh number that is held when dx → 0 is ν = a dt/dx (Courant number) for advection and r = d dt/dx² for diffusion; put
a number in its place for a scheme at that number. Definitions as in Strikwerda 2004, chapters 1, 3, 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import sympy as sp

from derive.pde_scheme import Scheme, dx, finite_difference

speed = sp.Symbol("a", positive=True)
diffusivity = sp.Symbol("d", positive=True)
nu = sp.Symbol("nu", positive=True)
r = sp.Symbol("r", positive=True)


def _advection(name: str, courant: sp.Expr, stencil: Mapping[tuple[int, int], sp.Expr]) -> Scheme:
    return finite_difference(name, stencil, courant * dx / speed, {1: -speed})


def _diffusion(name: str, number: sp.Expr, stencil: Mapping[tuple[int, int], sp.Expr]) -> Scheme:
    return finite_difference(name, stencil, number * dx**2 / diffusivity, {2: diffusivity})


def upwind(courant: sp.Expr = nu) -> Scheme:
    """u⁺_i = u_i − ν(u_i − u_{i−1}): first order, diffusive for 0 < ν < 1 (Courant, Isaacson, Rees 1952).

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(upwind(), 3).coefficients
    (-a, -a*dx*(nu - 1)/2, -a*dx**2*(nu - 1)*(2*nu - 1)/6)
    """
    c = sp.sympify(courant, strict=True)
    return _advection("upwind", c, {(1, 0): 1, (0, 0): c - 1, (0, -1): -c})


def lax_friedrichs(courant: sp.Expr = nu) -> Scheme:
    """u⁺_i = (u_{i+1} + u_{i−1})/2 − ν(u_{i+1} − u_{i−1})/2: first order (Lax 1954).

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(lax_friedrichs(), 2).coefficients[1]
    -a*dx*(nu - 1)*(nu + 1)/(2*nu)
    """
    c = sp.sympify(courant, strict=True)
    return _advection("Lax–Friedrichs", c, {(1, 0): 1, (0, 1): (c - 1) / 2, (0, -1): -(c + 1) / 2})


def lax_wendroff(courant: sp.Expr = nu) -> Scheme:
    """u⁺_i = u_i − ν(u_{i+1} − u_{i−1})/2 + ν²(u_{i+1} − 2u_i + u_{i−1})/2: second order, dispersive (Lax & Wendroff 1960).

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(lax_wendroff(), 4).coefficients
    (-a, 0, a*dx**2*(nu - 1)*(nu + 1)/6, a*dx**3*nu*(nu - 1)*(nu + 1)/8)
    """
    c = sp.sympify(courant, strict=True)
    return _advection("Lax–Wendroff", c, {(1, 0): 1, (0, 0): c**2 - 1, (0, 1): (c - c**2) / 2, (0, -1): -(c + c**2) / 2})


def beam_warming(courant: sp.Expr = nu) -> Scheme:
    """u⁺_i = u_i − ν(3u_i − 4u_{i−1} + u_{i−2})/2 + ν²(u_i − 2u_{i−1} + u_{i−2})/2: one-sided (Warming & Beam 1976).

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(beam_warming(), 3).coefficients[2]
    a*dx**2*(nu - 2)*(nu - 1)/6
    """
    c = sp.sympify(courant, strict=True)
    return _advection("Beam–Warming", c, {(1, 0): 1, (0, 0): -1 + 3 * c / 2 - c**2 / 2, (0, -1): c**2 - 2 * c,
                                          (0, -2): (c - c**2) / 2})  # fmt: skip


def leapfrog(courant: sp.Expr = nu) -> Scheme:
    """u⁺_i = u⁻_i − ν(u_{i+1} − u_{i−1}): two levels back, no dissipation, so every even derivative is absent.

    >>> from derive.pde_scheme import modified_pde
    >>> set(modified_pde(leapfrog(), 6).coefficients[1::2])
    {0}
    """
    c = sp.sympify(courant, strict=True)
    return _advection("leapfrog", c, {(1, 0): 1, (-1, 0): -1, (0, 1): c, (0, -1): -c})


def ftcs(diffusion_number: sp.Expr = r) -> Scheme:
    """u⁺_i = u_i + r(u_{i+1} − 2u_i + u_{i−1}): forward in time, central in space, for diffusion.

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(ftcs(), 4).coefficients
    (0, d, 0, -d*dx**2*(6*r - 1)/12)
    """
    return _theta_method("FTCS", diffusion_number, sp.S.Zero)


def btcs(diffusion_number: sp.Expr = r) -> Scheme:
    """The same with the difference at the new level: backward in time, central in space, implicit.

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(btcs(), 4).coefficients[3]
    d*dx**2*(6*r + 1)/12
    """
    return _theta_method("BTCS", diffusion_number, sp.S.One)


def crank_nicolson(diffusion_number: sp.Expr = r) -> Scheme:
    """The same with the mean of both levels: second order in time (Crank & Nicolson 1947).

    >>> from derive.pde_scheme import modified_pde
    >>> modified_pde(crank_nicolson(), 6).coefficients[3::2]
    (d*dx**2/12, d*dx**4*(30*r**2 + 1)/360)
    """
    return _theta_method("Crank–Nicolson", diffusion_number, sp.Rational(1, 2))


def _theta_method(name: str, number: sp.Expr, implicit: sp.Expr) -> Scheme:
    c = sp.sympify(number, strict=True)
    new, old = implicit * c, (1 - implicit) * c
    return _diffusion(name, c, {(1, 0): 1 + 2 * new, (1, 1): -new, (1, -1): -new,
                                (0, 0): -1 + 2 * old, (0, 1): -old, (0, -1): -old})  # fmt: skip


SCHEMES: Mapping[str, Callable[..., Scheme]] = MappingProxyType(
    {
        "upwind": upwind,
        "lax-friedrichs": lax_friedrichs,
        "lax-wendroff": lax_wendroff,
        "beam-warming": beam_warming,
        "leapfrog": leapfrog,
        "ftcs": ftcs,
        "btcs": btcs,
        "crank-nicolson": crank_nicolson,
    }
)
