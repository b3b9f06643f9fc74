"""Files made to describe far more than they hold: refused, and in no more memory than a sound model of their size takes."""

import json
import struct
import subprocess
import sys

import pytest
from exchanged import SHAPE
from program import ENTRAIN, entrain, write_recipe

# The peak is that of a small process's children: one forked from here would begin with the peak of this one.
MEASURE = "import json, resource, subprocess, sys; d = subprocess.run(sys.argv[1:], capture_output=True); print(json.dumps([d.returncode, d.stderr.decode(errors='replace'), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
MIB = 1024  # ru_maxrss counts KiB


def measured(*arguments):
    """Exit code, standard error and peak memory in KiB of the program."""
    return json.loads(subprocess.run([sys.executable, "-c", MEASURE, ENTRAIN, *map(str, arguments)], check=True, capture_output=True).stdout)


def commands(model, sound, folder):
    """Every way to open a model of another program."""
    recipe = write_recipe(folder / "recipe.toml", sound.parents[2] / "data", {"budget.steps": 1, "model.context": 16}, base=SHAPE)
    return {
        "import": ["import", model, "--out", folder / "out"],
        "generate": ["generate", model, "--prompt", "a", "--tokens", 1],
        "train": ["train", recipe, "--from", model, "--run", folder / "run"],
    }


@pytest.fixture(scope="module", params=["import", "generate", "train"])
def command(request, checkpoint_of, tmp_path_factory):
    """Name of a command, and the peak that a sound model takes in it."""
    sound = checkpoint_of("llama")
    returned, error, peak = measured(*commands(sound, sound, tmp_path_factory.mktemp("sound"))[request.param])
    assert returned == 0, error
    return request.param, peak


@pytest.fixture
def check_refused(command, checkpoint_of, tmp_path):
    name, peak_of_sound = command

    def check(model, *words, code=3):
        returned, error, peak = measured(*commands(model, checkpoint_of("llama"), tmp_path)[name])
        assert returned == code and all(word in error for word in words), (returned, error)
        assert peak < peak_of_sound + 64 * MIB, f"{peak / MIB:.0f} MiB, a sound model {peak_of_sound / MIB:.0f} MiB"

    return check


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


LARGE = {"vocab_size": 1 << 23}  # 2 GiB of embedding at the width of 64


def test_no_weights_at_all(model_folder, check_refused):
    change(model_folder, **LARGE)
    (model_folder / "model.safetensors").unlink()
    check_refused(model_folder, "model.safetensors", code=5)


def test_an_empty_file(model_folder, check_refused):
    change(model_folder, **LARGE)
    (model_folder / "model.safetensors").write_bytes(b"")
    check_refused(model_folder, "model.safetensors", "no header")


def test_weights_of_another_model(model_folder, check_refused):
    change(model_folder, **LARGE)
    check_refused(model_folder, "weights can hold")


def test_a_width_that_heads_do_not_divide(model_folder, check_refused):
    change(model_folder, hidden_size=100, num_attention_heads=6, num_key_value_heads=6, head_dim=0)  # 0: derived
    check_refused(model_folder, "config.json describes a model that cannot be")


def test_more_blocks_than_tensors(model_folder, check_refused):
    """Blocks so narrow that padding in the file pays for their numbers, but not for what each costs besides."""
    n_bytes = 8 << 20
    header = json.dumps({"padding": {"dtype": "F16", "shape": [n_bytes // 2], "data_offsets": [0, n_bytes]}}).encode()
    (model_folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(n_bytes))
    change(model_folder, hidden_size=2, num_attention_heads=1, num_key_value_heads=1, head_dim=2, intermediate_size=1, num_hidden_layers=n_bytes // 44 - 100)
    check_refused(model_folder, "missing model.embed_tokens.weight")


def test_a_memory_that_is_not_there(model_folder, check_refused):
    memory = {"rows": 1 << 23, "orders": [2.0, 3.0], "heads": 1, "blocks": [0.0], "into": "residual", "width": 64, "sign": True, "gate": False, "lr": 0.05}
    change(model_folder, model_type="entrain", base_model_type="llama", memory=memory)
    (model_folder / "memory.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    check_refused(model_folder, "memory.safetensors", "missing memory.2-gram.0.rows")


def test_features_that_stand_in_no_file(model_folder, check_refused):
    change(model_folder, model_type="entrain", base_model_type="llama", mixing={"blocks": [0.0], "width": 64, "features": 1 << 20, "temperature": 1.0})
    check_refused(model_folder, "features of forward mixing")


def test_gguf_tensors_over_each_other(checkpoint_of, tmp_path, check_refused):
    """Forty blocks whose matrices all lie at the same place: some MB of file, 1.1 GB of weights."""
    entrain("export", checkpoint_of("llama"), "--format", "gguf", "--out", tmp_path / "sound.gguf")
    whole = (tmp_path / "sound.gguf").read_bytes()
    first = struct.pack("<Q", 17) + b"token_embd.weight"
    metadata = whole[24 : whole.index(first)]
    n_values = struct.unpack_from("<Q", whole, 16)[0]
    for key, value in {"embedding_length": 1024, "feed_forward_length": 1024, "block_count": 40, "attention.head_count": 4, "attention.head_count_kv": 4,
                       "attention.key_length": 256, "attention.value_length": 256, "rope.dimension_count": 256}.items():
        at = metadata.index(b"llama." + key.encode() + struct.pack("<I", 4)) + len("llama." + key) + 4  # 4: an unsigned integer of 32 bits
        metadata = metadata[:at] + struct.pack("<I", value) + metadata[at + 4 :]
    tensors = [("token_embd.weight", 512), ("output_norm.weight", 1)]
    for block in range(40):
        tensors += [(f"blk.{block}.{name}.weight", rows) for name, rows in (("attn_norm", 1), ("attn_q", 1024), ("attn_k", 1024), ("attn_v", 1024), ("attn_output", 1024),
                                                                            ("ffn_norm", 1), ("ffn_gate", 1024), ("ffn_up", 1024), ("ffn_down", 1024))]
    infos = b""
    for name, rows in tensors:
        sizes = [1024] if rows == 1 else [1024, rows]
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, 0 if rows == 1 else 2, 0)  # 0: f32, 2: q4_0
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), n_values) + metadata + infos
    path = tmp_path / "model.gguf"
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(1024 * 1024 // 32 * 18))
    check_refused(path, "overlaps")
