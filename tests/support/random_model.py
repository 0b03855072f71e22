#!/usr/bin/python3
"""Write a Kronos tokenizer and model with random weights, in the layout of the Hugging Face hub.

    random_model.py SIZE SEED OUTDIR     SIZE: tiny | tail | mini | small | base

writes OUTDIR/tokenizer and OUTDIR/model, config.json and model.safetensors each. Needs numpy only.
scripts/test-models calls it once per size, into a folder of its own that it then renames.

Weights come from numpy's default generator (PCG64), so a SIZE and a SEED always give the same
bytes, and tests/data/golden/SIZE-seedSEED.json is what the Python reference returned for them.
Norm weights and biases carry noise on purpose: an implementation that forgets one of them must fail
the comparison. Speed does not depend on the values, so these files serve every benchmark;
forecasts made with them mean nothing.
"""
import json
import os
import struct
import sys

import numpy as np

TOKENIZER = {
    "tiny": dict(d_in=6, d_model=32, n_heads=2, ff_dim=48, n_enc_layers=3, n_dec_layers=3,
                 s1_bits=6, s2_bits=6, group_size=4),
    "tail": dict(d_in=6, d_model=40, n_heads=2, ff_dim=52, n_enc_layers=2, n_dec_layers=4,
                 s1_bits=5, s2_bits=5, group_size=5),
    "full": dict(d_in=6, d_model=256, n_heads=4, ff_dim=512, n_enc_layers=4, n_dec_layers=4,
                 s1_bits=10, s2_bits=10, group_size=5),
}
MODEL = {
    "tiny": dict(s1_bits=6, s2_bits=6, n_layers=3, d_model=64, n_heads=4, ff_dim=96),
    # head size 52, as in Kronos-base
    "tail": dict(s1_bits=5, s2_bits=5, n_layers=2, d_model=104, n_heads=2, ff_dim=72),
    "mini": dict(s1_bits=10, s2_bits=10, n_layers=4, d_model=256, n_heads=4, ff_dim=512),
    "small": dict(s1_bits=10, s2_bits=10, n_layers=8, d_model=512, n_heads=8, ff_dim=1024),
    "base": dict(s1_bits=10, s2_bits=10, n_layers=12, d_model=832, n_heads=16, ff_dim=2048),
}
TIME_TABLES = (("minute", 60), ("hour", 24), ("weekday", 7), ("day", 32), ("month", 13))
DROPOUT = dict(ffn_dropout_p=0.1, attn_dropout_p=0.1, resid_dropout_p=0.1)


def write_safetensors(path, tensors):
    names = {"float32": "F32", "int64": "I64"}
    header, offset = {}, 0
    for name, a in tensors.items():
        header[name] = {"dtype": names[a.dtype.name], "shape": list(a.shape),
                        "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for a in tensors.values():
            f.write(a.tobytes())


class Draw:
    """Tensors by name, drawn in the order they are asked for: the order is part of the bytes."""

    def __init__(self, seed):
        self.rng, self.out = np.random.default_rng(seed), {}

    def normal(self, name, shape, std, mean=0.0):
        x = self.rng.standard_normal(shape, dtype=np.float32)
        self.out[name] = (x * np.float32(std) + np.float32(mean)).astype(np.float32)

    def linear(self, name, n_out, n_in, bias=True):
        self.normal(name + ".weight", (n_out, n_in), (2.0 / (n_in + n_out)) ** 0.5)
        if bias:
            self.normal(name + ".bias", (n_out,), 0.02)

    def attention(self, name, d, n_heads):
        for p in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.linear(f"{name}.{p}", d, d)
        e = d // n_heads
        power = np.arange(0, e, 2, dtype=np.float32) / np.float32(e)
        self.out[f"{name}.rotary.inv_freq"] = (1.0 / 10000 ** power).astype(np.float32)

    def block(self, name, d, n_heads, ff):
        self.normal(f"{name}.norm1.weight", (d,), 0.1, 1.0)
        self.attention(f"{name}.self_attn", d, n_heads)
        self.normal(f"{name}.norm2.weight", (d,), 0.1, 1.0)
        self.linear(f"{name}.ffn.w1", ff, d, bias=False)
        self.linear(f"{name}.ffn.w3", ff, d, bias=False)
        self.linear(f"{name}.ffn.w2", d, ff, bias=False)


def tokenizer(c, seed):
    w, d, bits = Draw(seed), c["d_model"], c["s1_bits"] + c["s2_bits"]
    w.linear("embed", d, c["d_in"])
    w.linear("head", c["d_in"], d)
    for side in ("encoder", "decoder"):
        # one block fewer than the config says, as the reference builds it
        for i in range(c["n_enc_layers" if side == "encoder" else "n_dec_layers"] - 1):
            w.block(f"{side}.{i}", d, c["n_heads"], c["ff_dim"])
    w.linear("quant_embed", bits, d)
    w.linear("post_quant_embed_pre", d, c["s1_bits"])
    w.linear("post_quant_embed", d, bits)
    for name, n in (("basis", bits), ("group_basis", c["group_size"])):
        w.out["tokenizer.bsq." + name] = (1 << np.arange(n - 1, -1, -1)).astype(np.int64)
    return w.out


def model(c, seed):
    w, d = Draw(seed), c["d_model"]
    for s in ("s1", "s2"):
        w.normal(f"embedding.emb_{s}.weight", (2 ** c[f"{s}_bits"], d), d ** -0.5)
    w.linear("embedding.fusion_proj", d, 2 * d)
    for name, n in TIME_TABLES:
        w.normal(f"time_emb.{name}_embed.weight", (n, d), d ** -0.5)
    for i in range(c["n_layers"]):
        w.block(f"transformer.{i}", d, c["n_heads"], c["ff_dim"])
    w.normal("norm.weight", (d,), 0.1, 1.0)
    w.attention("dep_layer.cross_attn", d, 4)
    w.normal("dep_layer.norm.weight", (d,), 0.1, 1.0)
    w.linear("head.proj_s1", 2 ** c["s1_bits"], d)
    w.linear("head.proj_s2", 2 ** c["s2_bits"], d)
    return w.out


def write(size, seed, out):
    tok = TOKENIZER.get(size, TOKENIZER["full"])
    parts = (
        ("tokenizer", dict(tok, **DROPOUT, beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.05),
         tokenizer(tok, seed)),
        ("model", dict(MODEL[size], **DROPOUT, token_dropout_p=0.1, learn_te=True),
         model(MODEL[size], seed + 1)),
    )
    for part, config, tensors in parts:
        os.makedirs(os.path.join(out, part), exist_ok=True)
        with open(os.path.join(out, part, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f, indent=2)
        write_safetensors(os.path.join(out, part, "model.safetensors"), tensors)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in MODEL or not sys.argv[2].isdigit():
        sys.exit(__doc__)
    write(sys.argv[1], int(sys.argv[2]), sys.argv[3])
