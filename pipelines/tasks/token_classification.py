"""Task token-classification: named entities, or whatever a model's tags say, of each sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Encoding

from engine import OptionError
from pipelines.entities import STRATEGIES, Entity, Piece, Vocabulary, entities
from pipelines.labels import labels_of
from pipelines.names import did_you_mean
from pipelines.registry import Task
from pipelines.scores import softmax
from pipelines.text import TextPipeline

Array = NDArray[Any]


class TokenClassificationInput(BaseModel):
    """One sentence, several sentences, or the words of one."""

    model_config = ConfigDict(extra="forbid")

    inputs: str | list[str] = Field(
        description="A text, a list of texts, or the words of one text.",
        examples=["Ada Lovelace lived in London.", ["Ada wrote it.", "In London."]],
    )
    is_split_into_words: bool = Field(
        default=False, description="Whether `inputs` are the words of one text."
    )


class TokenClassificationResult(BaseModel):
    """One piece with its tag, or one group of pieces."""

    entity: str = Field(description="The tag; without B- and I- for a group.")
    score: float = Field(description="From 0 to 1; the mean of its members for a group.")
    word: str = Field(description="The piece as the vocabulary writes it, or the text of a group.")
    start: int | None = Field(default=None, description="First character in the text.")
    end: int | None = Field(default=None, description="Character after the last.")
    index: int | None = Field(default=None, description="Place of the token in its row; None for a group.")
    is_grouped: bool = Field(default=False, description="Whether an aggregation strategy made it.")


class TokenClassificationOutput(BaseModel):
    """The entities of each text, in the order of the texts."""

    predictions: list[list[TokenClassificationResult]] = Field(description="One list per text.")

    def __getitem__(self, text: int) -> list[TokenClassificationResult]:
        """The entities of one text."""
        return self.predictions[text]


class TokenClassificationPipeline(TextPipeline):
    """Tags the tokens of texts.

        find = Pipeline.create(task="ner", aggregation_strategy="first")
        find("Ada Lovelace lived in London.")    # predictions=[[... entity='PER' ... word='ada lovelace' ...]]

    Texts longer than `sequence_length` are cut.
    """

    token_axes: ClassVar[int | None] = 3

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        aggregation_strategy: str = "none",
        ignore_labels: list[str] | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `TextPipeline`.

        aggregation_strategy   none: every piece; simple: neighbours of one tag; first, average, max: pieces make
                               words first, by the first piece's, the mean or the highest scores
        ignore_labels          tags to leave out, after grouping; None: O

        Raises OptionError for an unknown strategy and for a tokenizer that knows no characters.
        """
        self.aggregation_strategy = _checked_strategy(aggregation_strategy)
        self.ignore_labels = ["O"] if ignore_labels is None else list(ignore_labels)
        super().__init__(model_path, **arguments)
        self.labels = labels_of(self.config)
        encoder = self.exact_encoder()
        decoder = encoder.tokenizer.decoder
        self._vocabulary = Vocabulary(
            tag=lambda index: self.labels.get(index, f"LABEL_{index}"),
            text=" ".join if decoder is None else decoder.decode,
        )
        self._unknown = getattr(encoder.tokenizer.model, "unk_token", None)
        self._prefix = getattr(encoder.tokenizer.model, "continuing_subword_prefix", None)

    @property
    def input_schema(self) -> type[TokenClassificationInput]:
        return TokenClassificationInput

    @property
    def output_schema(self) -> type[TokenClassificationOutput]:
        return TokenClassificationOutput

    def parse_inputs(self, *args: Any, **keywords: Any) -> BaseModel:
        if not args or isinstance(args[0], BaseModel):
            return super().parse_inputs(*args, **keywords)
        return TokenClassificationInput(inputs=args[0] if len(args) == 1 else list(args), **keywords)

    def process_inputs(self, inputs: TokenClassificationInput) -> tuple[list[Array], dict[str, Any]]:
        if inputs.is_split_into_words and isinstance(inputs.inputs, str):
            message = "is_split_into_words means that inputs is a list: the words of one text."
            raise ValueError(message)
        if inputs.is_split_into_words:
            texts, pieces = [" ".join(inputs.inputs)], [self.exact_encoder().pieces(list(inputs.inputs))]
        else:
            texts = [inputs.inputs] if isinstance(inputs.inputs, str) else list(inputs.inputs)
            pieces = [self.exact_encoder().pieces(text) for text in texts]
        room = self.exact_encoder().room(1)
        rows = [self.exact_encoder().frame([encoding.ids[:room]]) for encoding in pieces]
        context = {
            "texts": texts,
            "pieces": pieces,
            "words": list(inputs.inputs) if inputs.is_split_into_words else None,
        }
        return self.in_order(self.exact_encoder().pad(rows)), context

    def process_engine_outputs(
        self, engine_outputs: list[Array], **context: Any
    ) -> TokenClassificationOutput:
        if not engine_outputs:
            return TokenClassificationOutput(predictions=[])
        starts = _word_starts(context["words"])
        predictions = []
        for text, encoding, logits in zip(
            context["texts"], context["pieces"], self.logits(engine_outputs), strict=True
        ):
            found = entities(
                self._pieces(text, encoding, logits, starts), self.aggregation_strategy, self._vocabulary
            )
            predictions.append(
                [self._result(entity) for entity in found if entity.tag not in self.ignore_labels]
            )
        return TokenClassificationOutput(predictions=predictions)

    def _pieces(self, text: str, encoding: Encoding, logits: Array, starts: list[int] | None) -> list[Piece]:
        encoder = self.exact_encoder()
        count = min(len(encoding.ids), encoder.room(1))
        padding = len(logits) - len(encoder.frame([encoding.ids[:count]]).ids)
        begin = encoder.first_of(1) + (padding if encoder.padding.side == "left" else 0)
        scores = softmax(logits[begin : begin + count])
        found = []
        for place in range(count):
            word, (start, end) = encoding.tokens[place], encoding.offsets[place]
            number = encoding.word_ids[place]
            if starts is not None and number is not None:
                start, end = start + starts[number], end + starts[number]
            written = text[start:end]
            if word == self._unknown:
                word, continues = written, False
            elif self._prefix:
                continues = len(word) != len(written)
            else:
                continues = start > 0 and " " not in text[start - 1 : start + 1]
            if starts is not None and place and encoding.word_ids[place - 1] == number:
                continue
            found.append(Piece(begin + place, word, start, end, scores[place], continues and starts is None))
        return found

    def _result(self, entity: Entity) -> TokenClassificationResult:
        return TokenClassificationResult(
            entity=entity.tag,
            score=entity.score,
            word=entity.word,
            start=entity.start,
            end=entity.end,
            index=entity.index if self.aggregation_strategy == "none" else None,
            is_grouped=self.aggregation_strategy != "none",
        )


def _checked_strategy(name: str) -> str:
    known = str(name).strip().lower()
    if known not in STRATEGIES:
        near = did_you_mean(known, STRATEGIES)
        message = f'Unknown aggregation_strategy "{name}"{near} Known: {", ".join(STRATEGIES)}.'
        raise OptionError(message)
    return known


def _word_starts(words: list[str] | None) -> list[int] | None:
    """Where each word begins in the words joined by blanks."""
    if words is None:
        return None
    starts, place = [], 0
    for word in words:
        starts.append(place)
        place += len(word) + 1
    return starts


TASK = Task(
    name="token_classification",
    pipeline=TokenClassificationPipeline,
    aliases=("ner",),
    default_model_path="embedded:ner-minilm-l6-int8",
)
