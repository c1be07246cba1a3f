"""Answers of any task on the command line, one JSON line each: `python -m pipelines.infer --task TASK INPUT ...`.

INPUT is a text, or for tasks of images a path; `-` stands for the lines of standard input. One that is a JSON object
is a whole request with the fields of the task's input, as the server takes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from engine import OptionError
from pipelines.command import Parser, exit_code, one_line
from pipelines.pipeline import Pipeline


def _parser(program: str) -> Parser:
    parser = Parser(program, __doc__)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="texts, images or requests")
    parser.add_argument("-t", "--task", default="sentiment-analysis", help="default: sentiment-analysis")
    parser.add_argument("--model_path", "--model-path", help="the model; without it, the task's own")
    parser.add_argument("--data", type=Path, help="a file with one input a line")
    parser.add_argument("--context", help="question-answering: the passage, or @FILE; inputs are questions")
    parser.add_argument("--labels", help="zero-shot-text-classification: labels with commas between")
    parser.add_argument(
        "--field", action="append", default=[], metavar="NAME=VALUE", help="a field of every request"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="an argument of the pipeline"
    )
    parser.add_argument("-ncores", "--num_cores", "--num-cores", type=int, help="default: all")
    parser.add_argument("--sequence_length", "--sequence-length", type=int, help="tokens of a text at most")
    return parser


def main(arguments: Sequence[str] | None = None, program: str = "python -m pipelines.infer") -> int:
    """The command; its exit code."""
    return exit_code(lambda: _answer_all(_parser(program).parse_args(arguments)))


def _answer_all(given: Any) -> None:
    fields = {name: _value(text) for name, text in map(_pair, given.field)}
    if given.context is not None:
        fields["context"] = _text_of(given.context)
    if given.labels is not None:
        fields["labels"] = given.labels
    options = {name: _value(text) for name, text in map(_pair, given.option)}
    options |= {} if given.sequence_length is None else {"sequence_length": given.sequence_length}
    texts = [*given.inputs, *(given.data.read_text(encoding="utf-8").splitlines() if given.data else [])]
    if not texts:
        message = "nothing to answer: give inputs, --data FILE, or - for standard input."
        raise OptionError(message)
    pipeline = Pipeline.create(given.task, given.model_path, num_cores=given.num_cores, **options)
    requests = (_request(pipeline.input_schema, text, fields) for text in _lines(texts))
    try:
        for answer in pipeline.map(requests):
            sys.stdout.write(f"{_as_line(answer)}\n")
            sys.stdout.flush()
    except ValidationError as error:
        known = ", ".join(pipeline.input_schema.model_fields)
        message = f"{one_line(error)}. Fields of {given.task} are {known}: give --field NAME=VALUE, or JSON objects."
        raise OptionError(message) from error


def _lines(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if text == "-":
            yield from (line.rstrip("\n") for line in sys.stdin)
        else:
            yield text


def _request(schema: type[BaseModel], text: str, fields: dict[str, Any]) -> Any:
    """A request of any task: what the text stands for is the schema's first field.

    A schema without fields of its own takes whatever the JSON says, or the text.
    """
    found = _value(text)
    if "root" in schema.model_fields:
        return schema.model_validate(found | fields if isinstance(found, dict) else found)
    if isinstance(found, dict):
        return fields | found
    first = next(iter(schema.model_fields))
    return {first: text, **fields}


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        message = f'--field and --option take NAME=VALUE; got "{text}".'
        raise OptionError(message)
    return name, value


def _value(text: str) -> Any:
    """The JSON value that a text is; itself, where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text_of(source: str) -> str:
    return Path(source[1:]).read_text(encoding="utf-8") if source.startswith("@") else source


def _as_line(answer: Any) -> str:
    if isinstance(answer, BaseModel):
        return answer.model_dump_json()
    # Functions of the user's own give arrays, lists of them, or what they like.
    return json.dumps(answer, default=lambda part: part.tolist() if hasattr(part, "tolist") else str(part))


if __name__ == "__main__":
    sys.exit(main())
