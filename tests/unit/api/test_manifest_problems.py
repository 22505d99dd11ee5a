"""Each mistake in a manifest is told once, with its line, its path, plain words and the nearest valid name."""

import pytest

from plumbline_api.manifests import parse_manifests

RUN = """\
apiVersion: plumbline.dev/v1alpha1
kind: AlignmentRun
metadata:
  name: run
spec:
  model: {file: {path: base}}
  stages:
    - name: align
      dpo:
        dataset: {file: {path: pairs.jsonl}}
        learningRate: "1e-4"
        epochs: "1"
        beta: "0.1"
"""
GATE = """\
apiVersion: plumbline.dev/v1alpha1
kind: EvalGate
metadata: {name: gate}
spec:
  subject: {alignmentRun: {name: run}}
  suites: [{name: attacks}]
  rules:
    - {metric: harmful_compliance_rate, atMost: "0.05"}
"""
SUITE = """\
apiVersion: plumbline.dev/v1alpha1
kind: RedTeamSuite
metadata: {name: attacks}
spec:
  attacks:
    - direct: {}
  corpora: [{builtin: task-assistant}]
"""
RULES = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: guard-rules}
data:
  other: text
  rules.yaml: |
    # what may not go in

    rules:
      - id: words
        phrases: [bad words]
"""
SERVED = """\
apiVersion: plumbline.dev/v1alpha1
kind: GuardedInference
metadata: {name: served}
spec:
  gate: {name: gate}
"""
TWIN = '    - {name: align, sft: {dataset: {file: {path: x}}, learningRate: "1", maxSteps: 1}}\n'
DECIMAL = 'is not a number of at least zero, such as "0.1", "5e-7" or "3"'
SERVER = "this field is written by the API server and not by people; leave it out"
KINDS = "read are AlignmentRun, RedTeamSuite, EvalGate, GuardedInference, ConfigMap"

# The manifest, the text in it that is replaced, by what, and the problems in full.
CHANGES: dict[str, tuple[str, str, str, list[str]]] = {
    "unknown field": (
        RUN, 'beta: "0.1"', 'betta: "0.1"',
        ["m.yaml:13: spec.stages[0].dpo.betta: unknown field; did you mean beta?"],
    ),
    "field in snake case": (
        RUN, "learningRate", "learning_rate",
        ["m.yaml:11: spec.stages[0].dpo.learning_rate: unknown field; did you mean learningRate?"],
    ),
    "field like no other": (
        RUN, "  name: run\n", "  name: run\n  zzz: 1\n",
        ["m.yaml:5: metadata.zzz: unknown field; known here are name, namespace, labels, annotations"],
    ),
    "unknown stage": (
        RUN, "dpo:", "dop:",
        ["m.yaml:9: spec.stages[0].dop: unknown field; did you mean dpo?"],
    ),
    "missing field": (
        RUN, '        beta: "0.1"\n', "",
        ["m.yaml:9: spec.stages[0].dpo.beta: is missing, but required"],
    ),
    "missing spec": (
        "apiVersion: plumbline.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: a}\n", "", "",
        ["m.yaml:1: spec: is missing, but required"],
    ),
    "number where a string is wanted": (
        RUN, '"0.1"', "0.1",
        ['m.yaml:13: spec.stages[0].dpo.beta: write it as a string: "0.1"'],
    ),
    "exponent where a string is wanted, as it was written": (
        RUN, '"1e-4"', "1e-4",
        ['m.yaml:11: spec.stages[0].dpo.learningRate: write it as a string: "1e-4"'],
    ),
    "word that Kubernetes reads as a boolean": (
        RUN, "name: run", "name: no",
        ['m.yaml:4: metadata.name: write it as a string: "no"'],
    ),
    "string where a number is wanted": (
        RUN, "spec:", 'spec:\n  seed: "7"',
        ['m.yaml:6: spec.seed: must be a whole number without quotes, but it is "7"'],
    ),
    "fraction where a whole number is wanted": (
        RUN, "spec:", "spec:\n  seed: 1.5",
        ["m.yaml:6: spec.seed: must be a whole number, but it is 1.5"],
    ),
    "string where a boolean is wanted": (
        RUN, "spec:", 'spec:\n  output: {merge: "true"}',
        ['m.yaml:6: spec.output.merge: must be true or false, but it is "true"'],
    ),
    "mapping where a string is wanted": (
        RUN, "name: run", "name: {first: run}",
        ["m.yaml:4: metadata.name: must be a string, but it is a mapping"],
    ),
    "string where a mapping is wanted": (
        RUN, "{file: {path: base}}", "base",
        ['m.yaml:6: spec.model: must be a mapping (key: value), but it is "base"'],
    ),
    "mapping where a list is wanted": (
        SUITE, "  attacks:\n    - direct: {}", "  attacks:\n    direct: {}",
        ["m.yaml:5: spec.attacks: must be a list, but it is a mapping"],
    ),
    "empty where a string is wanted": (
        RUN, "name: run", "name:",
        ["m.yaml:4: metadata.name: must be a string, but it is empty"],
    ),
    "empty where a mapping is required": (
        GATE, "subject: {alignmentRun: {name: run}}", "subject:",
        ["m.yaml:5: spec.subject: is empty, but required"],
    ),
    "unknown field that is empty": (
        RUN, 'beta: "0.1"', 'beta: "0.1"\n        betta:',
        ["m.yaml:14: spec.stages[0].dpo.betta: unknown field; did you mean beta?"],
    ),
    "number that is not one": (
        RUN, '"0.1"', '"-0.1"',
        [f'm.yaml:13: spec.stages[0].dpo.beta: "-0.1" {DECIMAL}'],
    ),
    "number out of bounds": (
        RUN, "spec:", "spec:\n  seed: -1",
        ["m.yaml:6: spec.seed: must be at least 0 (found -1)"],
    ),
    "name in capitals": (
        RUN, "name: run", "name: Run",
        [
            'm.yaml:4: metadata.name: "Run" is not a name: lower-case letters, digits and \'-\', at most 40, '
            "beginning and ending with a letter or digit"
        ],
    ),
    "name too long": (
        RUN, "name: run", "name: " + "r" * 41,
        ["m.yaml:4: metadata.name: must have at most 40 characters"],
    ),
    "value of a list, told once": (
        RUN, 'beta: "0.1"', 'beta: "0.1"\n        loss: [sigmod]',
        [
            'm.yaml:14: spec.stages[0].dpo.loss[0]: "sigmod" is not one of sigmoid, hinge, ipo, robust, apo_zero, '
            "apo_down, sppo_hard, nca_pair, exo_pair, sft; did you mean sigmoid?"
        ],
    ),
    "no stages at all": (
        RUN[: RUN.index("  stages")] + "  stages: []\n", "", "",
        ["m.yaml:7: spec.stages: must have this many entries at least: 1"],
    ),
    "impossible combination: two lengths": (
        RUN, 'epochs: "1"', 'epochs: "1"\n        maxSteps: 3',
        ["m.yaml:9: spec.stages[0].dpo: give exactly one of epochs, maxSteps (found epochs and maxSteps)"],
    ),
    "impossible combination: two sources": (
        RUN, "{file: {path: base}}", "{file: {path: base}, run: {name: earlier}}",
        ["m.yaml:6: spec.model: give exactly one of file, run (found file and run)"],
    ),
    "two stages of one name": (
        RUN, "  stages:\n", "  stages:\n" + TWIN,
        ["m.yaml:7: spec.stages: two entries have the name align; each needs one of its own"],
    ),
    "a key given twice": (
        RUN, 'beta: "0.1"', 'beta: "0.1"\n        beta: "0.2"',
        ["m.yaml:14: spec.stages[0].dpo.beta: given twice (first on line 13); remove one"],
    ),
    "kind misspelt": (
        RUN, "AlignmentRun", "AlignementRun",
        [f"m.yaml:2: kind: AlignementRun is not a kind that is read here; {KINDS}; did you mean AlignmentRun?"],
    ),
    "kind of somebody else": (
        RUN, "AlignmentRun", "Deployment",
        [f"m.yaml:2: kind: Deployment is not a kind that is read here; {KINDS}"],
    ),
    "no kind": (
        RUN, "kind: AlignmentRun\n", "",
        [f"m.yaml:1: kind: is missing, but required; {KINDS}"],
    ),
    "another version": (
        RUN, "v1alpha1", "v1alpha2",
        [
            "m.yaml:1: apiVersion: AlignmentRun is not known in plumbline.dev/v1alpha2; "
            "did you mean plumbline.dev/v1alpha1?"
        ],
    ),
    "no version": (
        RUN, "apiVersion: plumbline.dev/v1alpha1\n", "",
        ["m.yaml:1: apiVersion: is missing, but required; write apiVersion: plumbline.dev/v1alpha1"],
    ),
    "a status": (
        RUN, "spec:", "status: {}\nspec:",
        ["m.yaml:5: status: a status is written by Plumbline and not by people; leave it out"],
    ),
    "an object copied from a cluster": (
        RUN, "  name: run", "  name: run\n  uid: 7-7\n  resourceVersion: '7'",
        [
            f"m.yaml:5: metadata.uid: {SERVER}",
            f"m.yaml:6: metadata.resourceVersion: {SERVER}",
        ],
    ),
    "metric misspelt": (
        GATE, "harmful_compliance_rate", "harmful_complience_rate",
        [
            "m.yaml:8: spec.rules[0].metric: 'harmful_complience_rate' is not a metric; known are "
            "harmful_compliance_rate, harmful_refusal_rate, false_refusal_rate, legitimate_completion_rate; "
            "did you mean harmful_compliance_rate?"
        ],
    ),
    "label misspelt": (
        GATE, "metric: harmful_compliance_rate", 'metric: "harmful_compliance_rate{categories=self_harm}"',
        [
            "m.yaml:8: spec.rules[0].metric: 'categories' is not a label of metrics; known are category, attack, "
            "split; did you mean category?"
        ],
    ),
    "rule without a threshold": (
        GATE, ', atMost: "0.05"', "",
        [
            "m.yaml:8: spec.rules[0]: give exactly one of atMost, atLeast, reductionFromBaseline, "
            "notWorseThanBaselineBy (found none)"
        ],
    ),
    "rule without its baseline": (
        GATE, "atMost", "reductionFromBaseline",
        ["m.yaml:4: spec: a rule compares with the baseline, but the gate names no baseline"],
    ),
    "threshold that is no share": (
        GATE, '"0.05"', '"5%"',
        ['m.yaml:8: spec.rules[0].atMost: "5%" is not a share between "0" and "1", such as "0.05"'],
    ),
    "attack misspelt": (
        SUITE, "direct: {}", "roleplay: {}",
        ["m.yaml:6: spec.attacks[0].roleplay: unknown field; did you mean rolePlay?"],
    ),
    "corpus misspelt": (
        SUITE, "builtin: task-assistant", "builtin: task_assistent",
        [
            'm.yaml:7: spec.corpora[0].builtin: "task_assistent" is not one of task-assistant; '
            "did you mean task-assistant?"
        ],
    ),
    "duration": (
        SUITE, "spec:", "spec:\n  generation: {timeout: one minute}",
        ['m.yaml:5: spec.generation.timeout: "one minute" is not a duration, such as 1h30m or 90s'],
    ),
    "no time at all": (
        SUITE, "spec:", "spec:\n  generation: {timeout: 0s}",
        ['m.yaml:5: spec.generation.timeout: "0s" is no time at all; write at least 1s, or leave the field out'],
    ),
    "nothing to learn": (
        RUN, 'epochs: "1"', 'epochs: "0"',
        ["m.yaml:12: spec.stages[0].dpo.epochs: must be above 0, or nothing is learned"],
    ),
    "label": (
        RUN, "  name: run\n", "  name: run\n  labels:\n    app: my app\n    my app: app\n",
        [
            "m.yaml:6: metadata.labels.app: \"my app\" is not a value of a label: letters, digits, '-', '_' and '.', "
            "at most 63",
            'm.yaml:7: metadata.labels["my app"]: "my app" is not a key of a label, such as app or example.org/app',
        ],
    ),
    "guard rule in a ConfigMap": (
        RULES, "phrases:", "phrase:",
        ['m.yaml:11: data["rules.yaml"].rules[0].phrase: unknown field; did you mean phrases?'],
    ),
    "broken pattern in a ConfigMap": (
        RULES, "phrases: [bad words]", 'pattern: "(?=x)"',
        [
            'm.yaml:11: data["rules.yaml"].rules[0].pattern: uses look-around or a back-reference, which the guard '
            "does not support"
        ],
    ),
    "broken YAML in a ConfigMap": (
        RULES, "[bad words]", "[bad words",
        ["m.yaml:12: data[\"rules.yaml\"]: not YAML: did not find expected ',' or ']' while parsing a flow sequence"],
    ),
    "key twice in a ConfigMap": (
        RULES, "      - id: words\n", "      - id: words\n        id: others\n",
        ['m.yaml:11: data["rules.yaml"].rules[0].id: given twice (first on line 10); remove one'],
    ),
    "rules in one quoted line": (
        RULES, RULES[RULES.index("|") :], '"rules: [{id: a, phrase: [x]}]"\n',
        ['m.yaml:6: data["rules.yaml"].rules[0].phrase: unknown field; did you mean phrases?'],
    ),
    "empty rules in a ConfigMap": (
        RULES, RULES[RULES.index("|") :], '""\n',
        ['m.yaml:6: data["rules.yaml"]: holds no rules; write rules: [...]'],
    ),
    "two documents in a ConfigMap": (
        RULES, "    # what may not go in\n", "    rules: []\n    ---\n",
        ['m.yaml:10: data["rules.yaml"]: holds more than one document; keep one'],
    ),
    "engine": (
        SERVED, "spec:", "spec:\n  engine: {type: transformer}",
        ['m.yaml:5: spec.engine.type: "transformer" is not one of transformers, vllm; did you mean transformers?'],
    ),
    "option of the engine": (
        SERVED, "spec:", "spec:\n  engine: {type: vllm, args: {max-model-length: \"4096\"}}",
        [
            "m.yaml:5: spec.engine: 'max-model-length' is not an option of vLLM that is passed on; known are dtype, "
            "enable-prefix-caching, enforce-eager, gpu-memory-utilization, kv-cache-dtype, kv-cache-memory-bytes, "
            "max-model-len, max-num-batched-tokens, max-num-seqs, quantization, seed; did you mean max-model-len?"
        ],
    ),
    "value of an option": (
        SERVED, "spec:", "spec:\n  engine: {type: vllm, args: {dtype: --host=0.0.0.0}}",
        [
            'm.yaml:5: spec.engine.args.dtype: "--host=0.0.0.0" is not a value of an option: lower-case letters, '
            "digits, '.', '_' and '-'"
        ],
    ),
    "number without quotes": (
        SERVED, "spec:", "spec:\n  engine: {type: vllm, args: {seed: 7}}",
        ['m.yaml:5: spec.engine.args.seed: write it as a string: "7"'],
    ),
    "not a mapping": (
        "- a\n- b\n", "", "",
        ["m.yaml:1: a manifest is a mapping with apiVersion, kind, metadata and spec"],
    ),
    "a tab": (
        RUN, "metadata:\n  name", "metadata:\n\tname",
        ["m.yaml:4: not YAML: found character that cannot start any token while scanning for the next token; "
         "indent with spaces, not tabs"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "problems"), CHANGES.values(), ids=CHANGES)
def test_a_mistake_is_told_at_its_place(text: str, old: str, new: str, problems: list[str]) -> None:
    assert old in text
    found = parse_manifests(text.replace(old, new), "m.yaml")
    assert [str(problem) for problem in found.problems] == problems
    assert found.objects == ()


def test_what_is_right_has_no_problem() -> None:
    found = parse_manifests("---\n".join([RUN, GATE, SUITE, RULES, SERVED]), "m.yaml")
    assert found.problems == ()
    assert [item.object.kind for item in found.objects] == [
        "AlignmentRun", "EvalGate", "RedTeamSuite", "ConfigMap", "GuardedInference",
    ]  # fmt: skip


def test_an_empty_field_is_left_out_as_the_api_server_leaves_it_out() -> None:
    text = RUN.replace("spec:", "spec:\n  seed:\n  compute: {cpu: null}\n  output:")
    found = parse_manifests(text, "m.yaml")
    assert found.problems == ()
    assert [item.object for item in found.objects] == [item.object for item in parse_manifests(RUN, "m.yaml").objects]


def test_every_problem_of_every_document_is_told_in_order() -> None:
    text = "---\n".join([RUN.replace("beta", "betta"), GATE, SUITE.replace("direct", "indirect"), "a: [\n"])
    found = parse_manifests(text, "m.yaml")
    assert [(problem.line, problem.path) for problem in found.problems] == [
        (13, "spec.stages[0].dpo.betta"),
        (29, "spec.attacks[0].indirect"),
        (33, ""),
    ]
    assert [item.object.kind for item in found.objects] == ["EvalGate"]


def test_an_object_knows_its_lines() -> None:
    (item,) = parse_manifests("# a comment\n" + RUN, "m.yaml").objects
    assert item.line == 2
    assert item.line_of("spec.stages[0].dpo.dataset.file.path") == 11
    assert item.line_of("spec.stages[0].dpo.gradientAccumulation") == 10
    assert item.line_of("spec.compute.cpu") == 6
    assert str(item.problem("spec.model.file", "no such folder")) == "m.yaml:7: spec.model.file: no such folder"


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n---\n", "null\n"])
def test_a_text_without_documents_has_nothing_and_no_problem(text: str) -> None:
    found = parse_manifests(text, "m.yaml")
    assert (found.objects, found.problems) == ((), ())
