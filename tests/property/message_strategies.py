"""Hypothesis strategies for the messages of the boundary, made from their types and bounds."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st
from msgspec import Raw, inspect, msgpack

from llmos.syscalls.abi.words import Record

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
"""Any value that MessagePack has without extensions."""


@cache
def records(kind: type[Record]) -> st.SearchStrategy[Record]:
    """Any valid record of a type."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return st.builds(kind, **{field.name: values(field.type) for field in info.fields})


def values(info: inspect.Type) -> st.SearchStrategy[object]:
    """Any valid value of a type."""
    match info:
        case inspect.StructType(cls=cls):
            return records(cls)
        case inspect.UnionType(types=types):
            return st.one_of([values(one) for one in types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.EnumType(cls=enum):
            return st.sampled_from(list(enum))
        case inspect.IntType() as bounds:
            low = bounds.ge if bounds.ge is not None else None if bounds.gt is None else bounds.gt + 1
            high = bounds.le if bounds.le is not None else None if bounds.lt is None else bounds.lt - 1
            return st.integers(-(1 << 63) if low is None else low, (1 << 63) - 1 if high is None else high)
        case inspect.FloatType() as bounds:
            above = bounds.ge if bounds.gt is None else bounds.gt
            return st.floats(above, bounds.le, allow_nan=False, exclude_min=bounds.gt is not None)
        case inspect.StrType() as bounds:
            return st.text(min_size=bounds.min_length or 0, max_size=min(bounds.max_length or 50, 50))
        case inspect.BytesType() as bounds:
            return st.binary(max_size=min(bounds.max_length or 50, 50))
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(values(key), values(value), max_size=3)
        case inspect.RawType():
            return plain.map(lambda value: Raw(msgpack.encode(value)))
        case inspect.VarTupleType(item_type=item) as bounds:
            most = min(bounds.max_length if bounds.max_length is not None else 5, 5)
            return st.lists(values(item), min_size=bounds.min_length or 0, max_size=most).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*[values(item) for item in items])
        case _:
            raise TypeError(f"no strategy for {info}")
