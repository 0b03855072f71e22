"""Kronos in PyTorch, for training: the equations of worker/kronos/MODEL.md, written independently of the engine.

Tokenizer turns normalised candles [B, n, 6] into s1_bits + s2_bits signs per candle and back. Model gives,
at every place of a sequence, the logits of the next candle's coarse token s1 and, knowing s1, of its fine
token s2. Letters as there: B series, n places, d width, h heads.

save() writes what the hub serves and the engine reads: config.json and model.safetensors. Matrices are
stored as F16 to halve the files; forward passes after load() use the stored values, in float32.
"""
import json
import math
import os
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

TIME_TABLES = (("minute", 60), ("hour", 24), ("weekday", 7), ("day", 32), ("month", 13))
DEPENDENCY_HEADS = 4
EPSILON = 1e-5
QUERIES = 96  # of one stretch of attention


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * self.weight


def rotate(x, first=0):
    """Rotary positions on x [B, h, n, e]: the two halves of a head are one complex number."""
    e = x.shape[-1]
    angle = torch.arange(first, first + x.shape[-2], dtype=torch.float32)[:, None] * (
        10000 ** (-torch.arange(0, e, 2, dtype=torch.float32) / e))[None, :]
    cosine, sine = angle.cos(), angle.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)


class Attention(nn.Module):
    """Causal; position m of the queries sees positions 0..m of what it is asked about."""

    def __init__(self, d, heads, is_rotated):
        super().__init__()
        self.heads, self.is_rotated = heads, is_rotated
        self.q_proj, self.k_proj = nn.Linear(d, d), nn.Linear(d, d)
        self.v_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, asking, asked):
        batch, n, d = asked.shape
        split = lambda x: x.view(batch, n, self.heads, d // self.heads).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q_proj(asking)), split(self.k_proj(asked)), split(self.v_proj(asked))
        if self.is_rotated:
            q, k = rotate(q), rotate(k)
        q = q / math.sqrt(d // self.heads)
        out = []
        for first in range(0, n, QUERIES):  # keys behind a stretch of queries are never multiplied
            end = min(first + QUERIES, n)
            future = torch.full((end - first, end), float("-inf")).triu(1 + first)
            scores = q[:, :, first:end] @ k[:, :, :end].transpose(-1, -2) + future
            out.append(scores.softmax(-1) @ v[:, :, :end])
        return self.out_proj(torch.cat(out, 2).transpose(1, 2).reshape(batch, n, d))


class FeedForward(nn.Module):
    def __init__(self, d, ff):
        super().__init__()
        self.w1, self.w3 = nn.Linear(d, ff, bias=False), nn.Linear(d, ff, bias=False)
        self.w2 = nn.Linear(ff, d, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, d, heads, ff):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(d), RMSNorm(d)
        self.self_attn, self.ffn = Attention(d, heads, True), FeedForward(d, ff)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.self_attn(y, y)
        return x + self.ffn(self.norm2(x))


def stack(n_layers, d, heads, ff):
    return nn.ModuleList(Block(d, heads, ff) for _ in range(n_layers))


def through(blocks, x):
    for block in blocks:
        x = block(x)
    return x


class Tokenizer(nn.Module):
    """Binary spherical quantisation: the signs of a point on the unit sphere are the code of a candle."""

    def __init__(self, config):
        super().__init__()
        self.config = c = config
        d, self.bits, self.s1_bits = c["d_model"], c["s1_bits"] + c["s2_bits"], c["s1_bits"]
        self.embed, self.head = nn.Linear(c["d_in"], d), nn.Linear(d, c["d_in"])
        # One block fewer than the config says: the published models are built so, and the engine with them.
        self.encoder = stack(c["n_enc_layers"] - 1, d, c["n_heads"], c["ff_dim"])
        self.decoder = stack(c["n_dec_layers"] - 1, d, c["n_heads"], c["ff_dim"])
        self.quant_embed = nn.Linear(d, self.bits)
        self.post_quant_embed_pre = nn.Linear(self.s1_bits, d)
        self.post_quant_embed = nn.Linear(self.bits, d)

    def encode(self, x):
        """Points before the signs are taken [B, n, bits]; bit j of a code is (point_j > 0)."""
        return self.quant_embed(through(self.encoder, self.embed(x)))

    def decode(self, code):
        """Candles of codes of +-1 [B, n, bits], or of their first s1_bits alone."""
        scaled = code / math.sqrt(self.bits)
        first = self.post_quant_embed if code.shape[-1] == self.bits else self.post_quant_embed_pre
        return self.head(through(self.decoder, first(scaled)))

    def forward(self, x):
        """Reconstructions from the coarse and from the full code, and the points on the unit sphere."""
        u = F.normalize(self.encode(x), dim=-1)
        sign = torch.where(u > 0, 1.0, -1.0)
        # Straight through: the forward pass sees signs, the gradient the sphere.
        code = math.sqrt(self.bits) * u + (sign - math.sqrt(self.bits) * u).detach()
        return self.decode(code[..., :self.s1_bits]), self.decode(code), u

    def tokens(self, x):
        weights = 1 << torch.arange(self.bits)
        ones = (self.encode(x) > 0).long()
        s1 = (ones[..., :self.s1_bits] * weights[:self.s1_bits]).sum(-1)
        return s1, (ones[..., self.s1_bits:] * weights[:self.bits - self.s1_bits]).sum(-1)

    def code(self, s1, s2):
        bit = lambda s, n: (s[..., None] >> torch.arange(n)) & 1  # noqa: E731
        return torch.cat([bit(s1, self.s1_bits), bit(s2, self.bits - self.s1_bits)], -1).float() * 2 - 1


def rows_of_codes(bits, d):
    """A row for each code [2^bits, d], standard deviation 1; codes that share bits begin alike, because
    they stand for candles that are alike. From independent rows training has to find that out."""
    sign = ((torch.arange(2 ** bits)[:, None] >> torch.arange(bits)) & 1) * 2.0 - 1
    return sign @ torch.randn(bits, d) * math.sqrt(0.8 / bits) + torch.randn(2 ** bits, d) * math.sqrt(0.2)


class Embedding(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["d_model"]
        self.emb_s1, self.emb_s2 = nn.Embedding(2 ** c["s1_bits"], d), nn.Embedding(2 ** c["s2_bits"], d)
        self.fusion_proj = nn.Linear(2 * d, d)
        with torch.no_grad():
            self.emb_s1.weight.copy_(rows_of_codes(c["s1_bits"], d) / math.sqrt(d))
            self.emb_s2.weight.copy_(rows_of_codes(c["s2_bits"], d) / math.sqrt(d))

    def forward(self, s1, s2):
        scale = math.sqrt(self.emb_s1.embedding_dim)
        return self.fusion_proj(torch.cat([self.emb_s1(s1) * scale, self.emb_s2(s2) * scale], -1))


class TimeEmbedding(nn.Module):
    def __init__(self, d):
        super().__init__()
        for name, n in TIME_TABLES:
            table = nn.Embedding(n, d)
            nn.init.normal_(table.weight, std=0.1)
            setattr(self, name + "_embed", table)

    def forward(self, times):
        return sum(getattr(self, name + "_embed")(times[..., i]) for i, (name, _) in enumerate(TIME_TABLES))


class Dependency(nn.Module):
    """What the fine token may know of the coarse one."""

    def __init__(self, d):
        super().__init__()
        self.cross_attn = Attention(d, DEPENDENCY_HEADS, False)
        self.norm = RMSNorm(d)

    def forward(self, context, next_s1):
        return self.norm(context + self.cross_attn(next_s1, context))


class Heads(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.proj_s1 = nn.Linear(c["d_model"], 2 ** c["s1_bits"])
        self.proj_s2 = nn.Linear(c["d_model"], 2 ** c["s2_bits"])
        with torch.no_grad():
            self.proj_s1.weight.copy_(rows_of_codes(c["s1_bits"], c["d_model"]) * 0.5 / math.sqrt(c["d_model"]))
            self.proj_s2.weight.copy_(rows_of_codes(c["s2_bits"], c["d_model"]) * 0.5 / math.sqrt(c["d_model"]))


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = config
        d = c["d_model"]
        self.embedding, self.time_emb = Embedding(c), TimeEmbedding(d)
        self.transformer = stack(c["n_layers"], d, c["n_heads"], c["ff_dim"])
        self.norm, self.dep_layer, self.head = RMSNorm(d), Dependency(d), Heads(c)

    def context(self, s1, s2, times):
        """What is known at each place [B, n, d]. s1, s2 [B, n]; times [B, n, 5]."""
        return self.norm(through(self.transformer, self.embedding(s1, s2) + self.time_emb(times)))

    def forward(self, s1, s2, times, next_s1, where):
        """Logits of the next coarse token, and of the next fine token given the coarse one, at the places
        where [B, n] says so: [places, vocabulary]."""
        context = self.context(s1, s2, times)
        fine = self.dep_layer(context, self.embedding.emb_s1(next_s1))
        return self.head.proj_s1(context[where]), self.head.proj_s2(fine[where])


def time_features(minutes):
    """Minute, hour, weekday (Monday 0), day, month [..., 5] of minutes since 1970."""
    days = np.asarray(minutes) // 1440
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    parts = (minutes % 60, minutes // 60 % 24, (days + 3) % 7,
             (date - month).astype(np.int64) + 1, month.astype(np.int64) % 12 + 1)
    return np.stack(parts, axis=-1).astype(np.int64)


def save(module, directory):
    """config.json and model.safetensors; matrices as F16, vectors as F32."""
    os.makedirs(directory, exist_ok=True)
    header, blobs, offset = {}, [], 0
    for name, tensor in module.state_dict().items():
        a = tensor.detach().numpy()
        a = a.astype(np.float16 if a.ndim == 2 else np.float32)
        header[name] = {"dtype": "F16" if a.ndim == 2 else "F32", "shape": list(a.shape),
                        "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
        blobs.append(a.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(directory, "model.safetensors")
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    os.replace(path + ".part", path)
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as f:
        json.dump(module.config, f, indent=2)
        f.write("\n")


def load(kind, directory):
    """A Tokenizer or a Model from a directory that save() wrote."""
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as f:
        module = kind(json.load(f))
    with open(os.path.join(directory, "model.safetensors"), "rb") as f:
        data = f.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    state = {}
    for name, entry in json.loads(data[8:start]).items():
        begin, end = entry["data_offsets"]
        kinds = {"F16": np.float16, "F32": np.float32}
        a = np.frombuffer(data[start + begin:start + end], kinds[entry["dtype"]]).reshape(entry["shape"])
        state[name] = torch.from_numpy(a.astype(np.float32))
    module.load_state_dict(state)
    return module.eval()
