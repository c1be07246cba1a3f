"""The predecessor's modules and names, as tables: where each leads, or what to use in its place.

A place is `module:attribute`, looked up when the name is first asked for: the engine imports no upper room.
"""

from __future__ import annotations

from collections.abc import Mapping


def _of(module: str, *names: str) -> dict[str, str]:
    return {name: f"{module}:{name}" for name in names}


_HELPERS = "engine.compat.helpers"
_TASKS = "pipelines.tasks"

ENGINE = _of("engine", "Engine", "compile_model", "Context", "MultiModelEngine", "Scheduler")
ENGINE |= {"BaseEngine": "engine:Engine", "model_debug_analysis": "engine.bench.layers:model_debug_analysis"}
CPU = _of(
    "engine.cpu",
    "cpu_architecture",
    "cpu_avx2_compatible",
    "cpu_avx512_compatible",
    "cpu_details",
    "cpu_neon_compatible",
    "cpu_quantization_compatible",
    "cpu_sve_compatible",
    "cpu_vnni_compatible",
    "VALID_VECTOR_EXTENSIONS",
)
PIPELINE = _of(
    "pipelines",
    "Pipeline",
    "PipelineConfig",
    "embedding_extraction_pipeline",
    "image_classification_pipeline",
    "question_answering_pipeline",
    "sentiment_analysis_pipeline",
    "text_classification_pipeline",
    "token_classification_pipeline",
    "yolo_pipeline",
    "zero_shot_text_classification_pipeline",
)
RESULTS = _of("engine", "BenchmarkResults", "BatchBenchmarkResult")
VERSION = {"__version__": "engine:__version__", "version": "engine:__version__"}
VERSION |= _of(_HELPERS, "is_release", "is_enterprise", "splash", "version_build", "version_major_minor")
VERSION |= _of(_HELPERS, "version_major", "version_minor", "version_bug")
TIMERS = _of("pipelines", "StagedTimer", "TimerManager")
UTILS = _of(
    "engine.utils",
    "MODEL_ONNX_NAME",
    "generate_random_inputs",
    "join_engine_outputs",
    "model_to_path",
    "split_engine_inputs",
)
UTILS |= _of(
    _HELPERS, "get_input_names", "get_output_names", "numpy_softmax", "parse_input_shapes", "verify_outputs"
)
TEXT = {
    f"{stem}{part}": f"{_TASKS}.{module}:{stem}{part}"
    for stem, module in (
        ("QuestionAnswering", "question_answering"),
        ("TextClassification", "text_classification"),
        ("TokenClassification", "token_classification"),
        ("ZeroShotTextClassification", "zero_shot_text_classification"),
    )
    for part in ("Pipeline", "Input", "Output")
}
TEXT |= _of(f"{_TASKS}.token_classification", "TokenClassificationResult")
TEXT |= {
    f"TransformersEmbeddingExtraction{part}": f"{_TASKS}.embedding_extraction:EmbeddingExtraction{part}"
    for part in ("Pipeline", "Input", "Output")
}
TEXT |= {"TransformersPipeline": "pipelines:TextPipeline"}
CUSTOM = {"CustomTaskPipeline": f"{_TASKS}.custom:CustomPipeline"}
IMAGES = _of(f"{_TASKS}.image_classification", "ImageClassificationPipeline", "ImageClassificationOutput")
YOLO = {
    f"YOLO{part}": f"{_TASKS}.object_detection:ObjectDetection{part}"
    for part in ("Pipeline", "Input", "Output")
}
YOLACT = {f"YOLACT{part}": f"{_TASKS}.yolact:Yolact{part}" for part in ("Pipeline", "Input", "Output")}
YOLACT |= {f"YOLACT{part}Schema": f"{_TASKS}.yolact:Yolact{part}" for part in ("Input", "Output")}
SERVER = _of("serve", "ServerConfig", "EndpointConfig")
LOGGING = _of(_HELPERS, "get_main_logger", "get_nm_root_logger", "set_logging_level")

# The engine's own `benchmark_model` times arrays; the one at top level is the command's.
COMMAND = {"benchmark_model": "engine.compat.helpers:benchmark_command"}

MODULES: Mapping[str, Mapping[str, str]] = {
    "deepsparse": {**ENGINE, **CPU, **PIPELINE, **VERSION, **LOGGING, **COMMAND},
    "deepsparse.engine": {**ENGINE, **_of(_HELPERS, "benchmark_model")},
    "deepsparse.benchmark": {**RESULTS, **COMMAND},
    "deepsparse.cpu": CPU,
    "deepsparse.image_classification": IMAGES,
    "deepsparse.legacy": {**PIPELINE, **TIMERS},
    "deepsparse.log": LOGGING,
    "deepsparse.pipeline": {**PIPELINE, **ENGINE},
    "deepsparse.pipelines": {**PIPELINE, **CUSTOM},
    "deepsparse.pipelines.custom_pipeline": CUSTOM,
    "deepsparse.server": {**SERVER, **_of("serve", "create_app", "build_app")},
    "deepsparse.server.config": SERVER,
    "deepsparse.transformers": TEXT,
    "deepsparse.transformers.pipelines": TEXT,
    "deepsparse.utils": {**UTILS, **TIMERS},
    "deepsparse.utils.onnx": UTILS,
    "deepsparse.version": VERSION,
    "deepsparse.yolact": YOLACT,
    "deepsparse.yolo": YOLO,
    "deepsparse.yolov8": YOLO,
}

_NO_TEXT = "text generation is not served; export an encoder, or use another program for generation"
# Names and modules of its that have no counterpart, and what to do instead.
ABSENT: Mapping[str, str] = {
    "KVCacheParams": _NO_TEXT,
    "TextGeneration": _NO_TEXT,
    "CodeGeneration": _NO_TEXT,
    "Chat": _NO_TEXT,
    "haystack_pipeline": "use embedding_extraction_pipeline and a vector store",
    "SupportedTasks": "use pipelines.Pipeline.tasks()",
    "AliasedTask": "use pipelines.Task",
    "analyze": "use the command sparselane.analyze, or engine.explain(model)",
    "evaluate": "compute the metric from the answers of pipelines.Pipeline",
    "benchmark_pipeline": "create the pipeline with benchmark=True and read its timers",
    "DebugAnalysisEngine": "use engine.bench.layers.model_debug_analysis",
    "override_onnx_batch_size": "pass batch_size to engine.Engine; no file is rewritten",
    "override_onnx_input_shapes": "pass input_shapes to engine.Engine; no file is rewritten",
    "validate_license": "none is needed",
    "optimized": "engine.__version__ is all there is to a version",
    "revision": "engine.__version__ is all there is to a version",
    "build_date": "engine.__version__ is all there is to a version",
    "is_nightly": "engine.__version__ is all there is to a version",
    "deepsparse.license": "none is needed",
    "deepsparse.loggers": "use the module logging; the loggers are called engine, pipelines and serve",
    "deepsparse.legacy.loggers": "use the module logging; the loggers are called engine, pipelines and serve",
    "deepsparse.open_pif_paf": "pose estimation is not served",
    "deepsparse.clip": "CLIP is not served",
}
