"""What a synthetic model is asked to be, and the two ways to write it.

synthetic:bert-base?sparsity=0.9&quantized=1&block=4      keys below
synthetic:bert-base-p90b4-qdq                             the same, as a name: ARCH-SPARSITY-FORM[-OPTION ...]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qsl

from engine.errors import OptionError

PREFIX = "synthetic:"

Kind = Literal["transformer", "cnn"]
Form = Literal["f32", "qdq", "int"]

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "bert-base": "transformer",
        "minilm-l6": "transformer",
        "resnet50": "cnn",
        "mobilenet-v2": "cnn",
        "yolov5s": "cnn",
    }
)


@dataclass(frozen=True, slots=True)
class Spec:
    """One synthetic model. Raises OptionError where a value is out of range or says nothing about this model.

    architecture         a key of KINDS
    percent              zeros in every pruned weight, 0 to 99
    block                zeros come alone (1) or as 4 consecutive inputs of one output (4)
    form                 f32, qdq (QuantizeLinear and DequantizeLinear pairs), int (MatMulInteger)
    layers               transformers: this many layers instead of the architecture's own
    layer_norm_op        transformers: LayerNormalization at opset 17 instead of the decomposed one
    classifier           bert-base: a pooler and two classes instead of the two answer outputs
    signed_weights       int: weights s8 with zero point 0 instead of u8 with zero point 128
    per_channel          qdq: a weight scale for every output channel
    quantize_weights     qdq: weights stay f32 behind QuantizeLinear and DequantizeLinear
    integer_bias         qdq: biases of convolutions and Gemm as int32 behind DequantizeLinear
    batch_norm           CNNs: BatchNormalization nodes are kept instead of folded into the convolution
    """

    architecture: str
    percent: int = 0
    block: int = 1
    form: Form = "f32"
    layers: int = 0
    seed: int = 0
    layer_norm_op: bool = False
    classifier: bool = False
    signed_weights: bool = False
    per_channel: bool = False
    quantize_weights: bool = False
    integer_bias: bool = False
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in KINDS:
            message = f"no synthetic model is called {self.architecture!r}; there are {', '.join(KINDS)}."
            raise OptionError(message)
        for name, key in KEYS.items():
            key.check(name, self)

    @property
    def kind(self) -> Kind:
        return KINDS[self.architecture]

    @property
    def name(self) -> str:
        """The canonical name; equal for equal models."""
        sparsity = "dense"
        if self.percent:
            sparsity = f"p{self.percent:02d}" + ("b4" if self.block == 4 else "")
        parts = [self.architecture, sparsity, self.form]
        plain = _plain(self.architecture, self.form)
        for word, (field, value) in _WORDS.items():
            if getattr(self, field) == value != getattr(plain, field):
                parts.append(word)
        parts += [f"seed{self.seed}"] * bool(self.seed) + [f"layers{self.layers}"] * bool(self.layers)
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a query: the field it sets, how its text is read, and when it means anything."""

    field: str
    read: Callable[[str], Any]
    range: str
    allowed: Callable[[Any], bool]
    applies: Callable[[Spec], bool]
    only: str = ""

    def check(self, name: str, spec: Spec) -> None:
        """Raise OptionError for a value out of range, or one that says nothing about this model."""
        value = getattr(spec, self.field)
        if not self.allowed(value):
            shown = value / 100 if self.field == "percent" else value
            message = f"{name} of a synthetic model must be {self.range}; got {shown!r}."
            raise OptionError(message)
        if value != Spec.__dataclass_fields__[self.field].default and not self.applies(spec):
            message = (
                f"{name}={value!r} of a synthetic model is for {self.only} only; "
                f"this is {spec.architecture} with form={spec.form}."
            )
            raise OptionError(message)


def _percent(text: str) -> int:
    percent = float(text) * 100
    if abs(percent - round(percent)) > 1e-6:
        raise ValueError(text)
    return round(percent)


def _flag(text: str) -> bool:
    return {"1": True, "true": True, "0": False, "false": False}[text.lower()]


def _always(_spec: Spec) -> bool:
    return True


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _switch(field: str, applies: Callable[[Spec], bool], only: str) -> Key:
    return Key(field, _flag, "0 or 1", _is_bool, applies, only)


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "sparsity": Key("percent", _percent, "0 to 0.99 in hundredths", lambda v: v in range(100), _always),
        "block": Key("block", int, "1 or 4", lambda v: v in (1, 4), lambda s: s.percent > 0, "pruned models"),
        "form": Key(
            "form",
            str,
            "f32, qdq, or (transformers) int",
            lambda v: v in ("f32", "qdq", "int"),
            lambda s: s.form != "int" or s.kind == "transformer",
            "transformers",
        ),
        "layers": Key(
            "layers",
            int,
            "0 (all) to 48",
            lambda v: v in range(49),
            lambda s: s.kind == "transformer",
            "transformers",
        ),
        "seed": Key("seed", int, "0 or more", lambda v: v >= 0, _always),
        "lnop": _switch("layer_norm_op", lambda s: s.kind == "transformer", "transformers"),
        "seqcls": _switch("classifier", lambda s: s.architecture == "bert-base", "bert-base"),
        "s8": _switch("signed_weights", lambda s: s.form == "int", "form=int"),
        "pc": _switch("per_channel", lambda s: s.form == "qdq", "form=qdq"),
        "fqw": _switch("quantize_weights", lambda s: s.form == "qdq", "form=qdq"),
        "bias": _switch("integer_bias", lambda s: s.form == "qdq", "form=qdq"),
        "bn": _switch("batch_norm", lambda s: s.kind == "cnn", "CNNs"),
    }
)

# Words of a name, in the order in which the canonical name has them.
_WORDS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "lnop": ("layer_norm_op", True),
        "seqcls": ("classifier", True),
        "s8": ("signed_weights", True),
        "pc": ("per_channel", True),
        "pt": ("per_channel", False),
        "fqw": ("quantize_weights", True),
        "qbias": ("integer_bias", True),
        "fbias": ("integer_bias", False),
        "bn": ("batch_norm", True),
    }
)


def _plain(architecture: str, form: str) -> Spec:
    """The spec before any option: quantised CNNs are per channel with integer biases, as is usual."""
    spec = Spec(architecture, form=form)  # type: ignore[arg-type]
    quantised_cnn = spec.kind == "cnn" and form == "qdq"
    return replace(spec, per_channel=quantised_cnn, integer_bias=quantised_cnn)


def is_synthetic(model: str) -> bool:
    """Whether a model string asks for a synthetic model."""
    return model.startswith(PREFIX)


def parse(model: str) -> Spec:
    """Read `synthetic:...`. Raises OptionError naming the part that cannot be read."""
    text = model.removeprefix(PREFIX)
    architecture, _, query = text.partition("?")
    return _parse_query(architecture, query) if architecture in KINDS else _parse_name(text)


def _parse_name(name: str) -> Spec:
    architecture = next((a for a in KINDS if name.startswith(a + "-")), None)
    match = re.fullmatch(
        r"(?:dense|p(\d\d)(b4)?)-(f32|qdq|int)((?:-\w+)*)", name[len(architecture or "") + 1 :]
    )
    if architecture is None or match is None:
        message = (
            f"{PREFIX}{name} is no synthetic model. Write one of {', '.join(KINDS)}, then "
            f"?{'&'.join(f'{key}=' for key in ('quantized', *KEYS))} as needed, for example {PREFIX}bert-base?sparsity=0.9."
        )
        raise OptionError(message)
    percent, block, form, words = match.groups()
    fields: dict[str, Any] = {"percent": int(percent or 0), "block": 4 if block else 1}
    for word in words.split("-")[1:]:
        number = re.fullmatch(r"(seed|layers)(\d+)", word)
        if number is not None:
            fields[number[1]] = int(number[2])
        elif word in _WORDS:
            field, value = _WORDS[word]
            fields[field] = value
        else:
            message = f"unknown word {word!r} in {PREFIX}{name}; known: {', '.join(_WORDS)}, seedN, layersN."
            raise OptionError(message)
    return replace(_plain(architecture, form), **fields)


def _parse_query(architecture: str, query: str) -> Spec:
    texts = dict(parse_qsl(query, keep_blank_values=True))
    quantised = texts.pop("quantized", None)
    fields: dict[str, Any] = {}
    if quantised is not None:
        fields["form"] = "qdq" if _read("quantized", _flag, quantised, "0 or 1") else "f32"
    for name, text in texts.items():
        if name not in KEYS:
            message = f"unknown key {name!r} of a synthetic model; known: quantized, {', '.join(KEYS)}."
            raise OptionError(message)
        key = KEYS[name]
        fields[key.field] = _read(name, key.read, text, key.range)
    return replace(_plain(architecture, fields.get("form", "f32")), **fields)


def _read(name: str, read: Callable[[str], Any], text: str, allowed: str) -> Any:
    try:
        return read(text)
    except (ValueError, KeyError) as error:
        message = f"{name} of a synthetic model must be {allowed}; got {text!r}."
        raise OptionError(message) from error
