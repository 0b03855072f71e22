"""The Kronos model by PyTorch, written from worker/kronos/MODEL.md: a second engine to compare speed and greedy tokens with.

What a good implementation in Python would do: keys and values kept, one prefill for all samples of a task, heads at the last
position only, `fit` windows. And the reference's way for comparison: the whole window again at every step, once per sample,
both heads at all positions. Float32 on a CPU, one thread.

Letters: d width, h heads, e = d / h, n positions, S samples.
"""
import json
import pathlib
import struct

import numpy as np
import torch
from torch.nn import functional as F

DEP_HEADS = 4
CLIP = 5.0


def read_safetensors(path):
    """Name -> tensor, of the F32 ones."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: torch.from_numpy(np.frombuffer(data[8 + size:], np.float32, (t["data_offsets"][1] - t["data_offsets"][0]) // 4,
                                                 t["data_offsets"][0]).reshape(t["shape"]).copy())
            for name, t in header.items() if t["dtype"] == "F32"}


class Part:
    """Weights and config of one directory; linear() by name."""

    def __init__(self, folder):
        self.config = json.loads((pathlib.Path(folder) / "config.json").read_text(encoding="utf-8"))
        self.w = read_safetensors(pathlib.Path(folder) / "model.safetensors")

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def rms(self, name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.w[name + ".weight"]


def rotation(n, e):
    """cos and sin of p * 10000^(-2i/e), [n, e] each: the halves of a head turn alike."""
    angle = torch.arange(n, dtype=torch.float32)[:, None] / 10000 ** (torch.arange(0, e, 2, dtype=torch.float32) / e)[None]
    return torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def heads(x, h):
    """[S, n, d] -> [S, h, n, e]"""
    return x.view(x.shape[0], x.shape[1], h, -1).transpose(1, 2)


def attend(q, k, v, is_causal):
    """softmax(q k^T / sqrt(e)) v; the last query sees every key, the one before it one less."""
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if is_causal and q.shape[2] > 1:
        n, m = scores.shape[-2:]
        scores = scores.masked_fill(torch.ones(n, m, dtype=torch.bool).triu(m - n + 1), float("-inf"))
    y = torch.softmax(scores, -1) @ v
    return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)


class Kept:
    """Keys and values of one layer: the history's once, and of each sample what follows."""

    def __init__(self):
        self.shared = self.own = None

    def add(self, k, v):
        """k, v [S, h, n, e] of new positions; returns those of all positions."""
        if self.shared is None:
            self.shared = (k, v)
        elif self.own is None:
            self.own = (k, v)
        else:
            self.own = tuple(torch.cat([old, new], 2) for old, new in zip(self.own, (k, v)))

    def all(self):
        if self.own is None:
            return self.shared
        samples = self.own[0].shape[0]
        return tuple(torch.cat([s.expand(samples, -1, -1, -1), o], 2) for s, o in zip(self.shared, self.own))

    def attend(self, q):
        """q [S, h, 1, e] over all positions: the history's keys are read once for all samples, not copied."""
        if self.own is None:
            return attend(q, *self.shared, is_causal=True)
        (sk, sv), (ok, ov) = self.shared, self.own
        joint = q.transpose(0, 2)                                               # [1, h, S, e]
        scores = torch.cat([(joint @ sk.transpose(-1, -2)).transpose(0, 2), q @ ok.transpose(-1, -2)], -1) / q.shape[-1] ** 0.5
        p = torch.softmax(scores, -1)
        n = sk.shape[2]
        y = (p[..., :n].transpose(0, 2) @ sv).transpose(0, 2) + p[..., n:] @ ov  # [S, h, 1, e]
        return y.transpose(1, 2).reshape(y.shape[0], 1, -1)


def block(part, name, x, h, turn, kept=None):
    """One transformer block; `turn` is cos, sin of the positions of x."""
    y = part.rms(f"{name}.norm1", x)
    q, k, v = (heads(part.linear(f"{name}.self_attn.{p}_proj", y), h) for p in "qkv")
    q, k = rotate(q, *turn), rotate(k, *turn)
    if kept is None:
        y = attend(q, k, v, is_causal=True)
    else:
        kept.add(k, v)
        y = kept.attend(q)
    x = x + part.linear(f"{name}.self_attn.out_proj", y)
    y = part.rms(f"{name}.norm2", x)
    return x + part.linear(f"{name}.ffn.w2", F.silu(part.linear(f"{name}.ffn.w1", y)) * part.linear(f"{name}.ffn.w3", y))


class Tokenizer(Part):
    def blocks(self, side, x):
        h = self.config["n_heads"]
        turn = rotation(x.shape[1], self.config["d_model"] // h)
        # one block fewer than the config says, as the reference builds it
        for i in range(self.config["n_enc_layers" if side == "encoder" else "n_dec_layers"] - 1):
            x = block(self, f"{side}.{i}", x, h, turn)
        return x

    def encode(self, z):
        """z [L, 6] normalised -> s1, s2 [L]"""
        bits = (self.linear("quant_embed", self.blocks("encoder", self.linear("embed", z[None])))[0] > 0).long()
        n = self.config["s1_bits"]
        return tuple((b * 2 ** torch.arange(b.shape[1])).sum(1) for b in (bits[:, :n], bits[:, n:]))

    def decode(self, s1, s2):
        """s1, s2 [S, n] -> candles [S, n, 6], normalised"""
        n1, n2 = self.config["s1_bits"], self.config["s2_bits"]
        bits = torch.cat([(s[..., None] >> torch.arange(n)) & 1 for s, n in ((s1, n1), (s2, n2))], -1)
        x = (bits.float() * 2 - 1) / (n1 + n2) ** 0.5
        return self.linear("head", self.blocks("decoder", self.linear("post_quant_embed", x)))


class Model(Part):
    def embed(self, s1, s2, times):
        """s1, s2 [S, n], times [n, 5] -> [S, n, d]"""
        scale = self.config["d_model"] ** 0.5
        x = torch.cat([self.w["embedding.emb_s1.weight"][s1], self.w["embedding.emb_s2.weight"][s2]], -1) * scale
        x = self.linear("embedding.fusion_proj", x)
        for i, name in enumerate(("minute", "hour", "weekday", "day", "month")):
            x = x + self.w[f"time_emb.{name}_embed.weight"][times[:, i]]
        return x

    def s2_logits(self, c, s1, k, v):
        """c [S, n, d]; the dependency layer asks with the unscaled embedding of s1 [S, n]."""
        q = heads(self.linear("dep_layer.cross_attn.q_proj", self.w["embedding.emb_s1.weight"][s1]), DEP_HEADS)
        y = attend(q, k, v, is_causal=False)
        y = self.rms("dep_layer.norm", c + self.linear("dep_layer.cross_attn.out_proj", y))
        return self.linear("head.proj_s2", y)

    def dep_kv(self, c):
        return tuple(heads(self.linear(f"dep_layer.cross_attn.{p}_proj", c), DEP_HEADS) for p in "kv")


def draw(logits, temperature, top_p, generator):
    """logits [S, vocabulary] -> [S]; temperature 0 is greedy."""
    if temperature == 0:
        return logits.argmax(-1)
    p, order = torch.softmax(logits / temperature, -1).sort(-1, descending=True)
    p = p.masked_fill(p.cumsum(-1) - p > top_p, 0.0)
    return order.gather(-1, torch.multinomial(p, 1, generator=generator))[:, 0]


class Engine:
    """Forecasts of one model; the same inputs as the engine of this project."""

    def __init__(self, folder, context):
        folder = pathlib.Path(folder)
        self.tokenizer, self.model = Tokenizer(folder / "tokenizer"), Model(folder / "model")
        self.context = context

    def prepare(self, history, minutes):
        """history [L, 6], minutes [L + P] since 1970 -> tokens, time features, mean and deviation."""
        x = torch.as_tensor(history, dtype=torch.float32)
        mean, std = x.mean(0), x.std(0, unbiased=False)
        s1, s2 = self.tokenizer.encode(((x - mean) / (std + 1e-5)).clip(-CLIP, CLIP))
        when = np.array(minutes, dtype="datetime64[m]")
        days = when.astype("datetime64[D]")
        months = when.astype("datetime64[M]")
        of_day = np.array(minutes) % 1440
        weekday = (days.astype(int) + 3) % 7
        times = np.stack([of_day % 60, of_day // 60, weekday, (days - months).astype(int) + 1, months.astype(int) % 12 + 1], 1)
        return s1, s2, torch.from_numpy(times.astype(np.int64)), mean, std

    @torch.no_grad()
    def forecast(self, history, minutes, horizon, samples, temperature=1.0, top_p=0.9, seed=7):
        """`fit`: candles [horizon, 6], and the tokens [S, horizon] of both kinds."""
        generator = torch.Generator().manual_seed(seed)
        s1, s2, times, mean, std = self.prepare(history, minutes)
        first = max(0, len(s1) + horizon - 1 - self.context)
        n = len(s1) - first
        c = self.model.config
        turn = rotation(self.context, c["d_model"] // c["n_heads"])
        layers, dep = [Kept() for _ in range(c["n_layers"])], Kept()
        new1, new2 = s1[None, first:], s2[None, first:]
        out1, out2 = [], []
        for step in range(horizon):
            at = slice(0, n) if step == 0 else slice(n + step - 1, n + step)
            x = self.model.embed(new1, new2, times[first:][at])
            for i, kept in enumerate(layers):
                x = block(self.model, f"transformer.{i}", x, c["n_heads"], tuple(t[at] for t in turn), kept)
            x = self.model.rms("norm", x)
            dep.add(*self.model.dep_kv(x))
            x = x[:, -1:]
            if step == 0:
                x = x.expand(samples, -1, -1)
            new1 = draw(self.model.linear("head.proj_s1", x)[:, 0], temperature, top_p, generator)
            q = heads(self.model.linear("dep_layer.cross_attn.q_proj", self.model.w["embedding.emb_s1.weight"][new1[:, None]]), DEP_HEADS)
            y = dep.attend(q) if dep.own is not None else attend(q, *dep.shared, is_causal=False)
            y = self.model.rms("dep_layer.norm", x + self.model.linear("dep_layer.cross_attn.out_proj", y))
            new2 = draw(self.model.linear("head.proj_s2", y)[:, 0], temperature, top_p, generator)
            out1.append(new1)
            out2.append(new2)
            new1, new2 = new1[:, None], new2[:, None]
        drawn1, drawn2 = torch.stack(out1, 1), torch.stack(out2, 1)
        before = min(len(s1), self.context - horizon)
        window = [torch.cat([s[None, len(s1) - before:].expand(samples, -1), drawn], 1) for s, drawn in ((s1, drawn1), (s2, drawn2))]
        candles = self.tokenizer.decode(*window)[:, -horizon:].mean(0)
        return candles * (std + 1e-5) + mean, drawn1, drawn2

    @torch.no_grad()
    def reference_step(self, s1, s2, times):
        """One step as the reference takes it: the whole window [1, n], both heads at all positions."""
        c = self.model.config
        x = self.model.embed(s1, s2, times)
        turn = rotation(s1.shape[1], c["d_model"] // c["n_heads"])
        for i in range(c["n_layers"]):
            x = block(self.model, f"transformer.{i}", x, c["n_heads"], turn)
        x = self.model.rms("norm", x)
        new1 = self.model.linear("head.proj_s1", x).argmax(-1)
        return new1[:, -1], self.model.s2_logits(x, new1, *self.model.dep_kv(x))[:, -1].argmax(-1)
