"""The command line of the server: options to a configuration, errors to one line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from engine import OptionError
from serve import listener
from serve.config import INTEGRATIONS, LOG_LEVELS, ServerConfig, make_config, read_config
from serve.failure import EXPECTED, USAGE_ERROR, tell

# Words that the predecessor took, and what logging calls them.
_LEVELS = {"warn": "WARNING", "fatal": "CRITICAL"}


class Parser(argparse.ArgumentParser):
    """Options in both spellings, `--model_path` and `--model-path`; one line for an error."""

    def option(self, name: str, **rest: Any) -> None:
        """Add `--name` with underscores and with hyphens."""
        spellings = dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"])
        self.add_argument(*spellings, dest=name, **rest)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"error: {message}. See {self.prog} --help.\n")


def make_parser(program: str = "python -m serve") -> Parser:
    """All options of `python -m serve`."""
    parser = Parser(
        prog=program,
        description="Serve pipelines over HTTP: one task from the command line, or those of a YAML file.",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="as --model-path")
    parser.option("config_file", type=Path, help="YAML file with endpoints; wins over --task")
    parser.option("task", help="for example sentiment-analysis")
    parser.option("model_path", help="file, folder or stub (default: the task's own model)")
    parser.option("batch_size", type=int, help="rows per engine call (default: 1)")
    parser.option("num_cores", type=int, help="physical cores (default: all)")
    parser.option("num_workers", type=int, help="requests that the engine runs at once")
    parser.option("host", help="address to listen on (default: 0.0.0.0)")
    parser.option("port", type=int, help="port to listen on (default: 5543; 0: any free one)")
    parser.option("log_level", choices=LOG_LEVELS, help="default: info")
    parser.option(
        "integration",
        choices=INTEGRATIONS,
        help="sagemaker: /invocations, and port 8080 or SAGEMAKER_BIND_TO_PORT",
    )
    parser.option("debug", action="store_true", help="show the traceback of an error")
    return parser


def configure(options: argparse.Namespace) -> ServerConfig:
    """The configuration that the options mean. Raises OptionError."""
    words = ("num_cores", "num_workers", "host", "port", "log_level", "integration")
    overrides = {word: getattr(options, word) for word in words}
    if options.config_file is not None:
        return read_config(options.config_file, **overrides)
    if options.task is None:
        message = "Give --task, for example --task sentiment-analysis, or --config-file with a YAML file."
        raise OptionError(message)
    endpoint = {"task": options.task, "model": options.model_path or options.model or "default"}
    if options.batch_size is not None:
        endpoint["batch_size"] = options.batch_size
    return make_config({"endpoints": [endpoint]}, "command line", **overrides)


def main(arguments: Sequence[str] | None = None, program: str = "python -m serve") -> int:
    """Run the server; returns 2 after a wrong option, configuration or model."""
    options = make_parser(program).parse_args(arguments)
    try:
        config = configure(options)
        level = _LEVELS.get(config.log_level, config.log_level.upper())
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
        _serve(config, debug=options.debug)
    except EXPECTED as error:
        tell(error, debug=options.debug)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 0
    return 0


def _serve(config: ServerConfig, *, debug: bool) -> None:
    bound = listener.bind(config.host, config.port)
    try:
        from serve import gunicorn_server
    except ImportError:
        from serve import werkzeug_server

        werkzeug_server.run(config, bound)
    else:
        gunicorn_server.run(config, bound, debug=debug)
