"""The same step in PyTorch, eager or compiled.

Where the stride is 2, TensorFlow's "same" pads one row more behind and PyTorch's `padding=2` one row more before. So
the networks are ours mirrored: kernels and real images are turned in height and width, and every number stays the same.
"""

import functools
import itertools
import math
import os

import torch
from _training import BATCH
from torch import nn
from torch.nn import functional

torch.set_num_threads(len(os.sched_getaffinity(0)))
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Training:
    """Two networks, their optimisers and one batch, in "float32" or, by autocast, in "bfloat16"."""

    def __init__(self, case, compiled, precision="float32"):
        self.case, self._compiled = case, compiled
        self._autocast = functools.partial(torch.autocast, _DEVICE, torch.bfloat16, enabled=precision == "bfloat16")

    def begin(self, generator, critic, images, labels):
        """Takes over initial weights and the batch."""
        networks = (Generator, Critic) if self.case.is_dcgan else (ResNetGenerator, ResNetCritic)
        self.generator, self.critic = (network(self.case) for network in networks)
        for network, weights in ((self.generator, generator), (self.critic, critic)):
            _load(network, weights)
            network.to(_DEVICE, memory_format=torch.channels_last)
        rate, beta_1, beta_2, epsilon = self.case.adam
        self._optimizers = {
            name: torch.optim.Adam(network.parameters(), rate, (beta_1, beta_2), epsilon, fused=True)
            for name, network in (("generator", self.generator), ("critic", self.critic))
        }
        self._updates = dict.fromkeys(self._optimizers, 0)
        self._uncompiled_critic = self.critic  # compiled functions cannot be differentiated twice
        if self._compiled:
            self.generator, self.critic = torch.compile(self.generator), torch.compile(self.critic)
        images = torch.from_numpy(images).to(_DEVICE).flip(1, 2).permute(0, 3, 1, 2)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._labels = torch.from_numpy(labels).long().to(_DEVICE)

    def check(self, noise):
        """The losses of a step with the noise given."""
        noise = {name: torch.from_numpy(array).to(_DEVICE) for name, array in noise.items()}
        if "dequantisation" in noise:
            noise["dequantisation"] = noise["dequantisation"].flip(1, 2).permute(0, 3, 1, 2)
            noise["generator_labels"] = noise["generator_labels"].long()
        return {name: float(value) for name, value in self._step(noise).items()}

    def step(self, count):
        """Takes steps on the batch."""
        for _ in range(count):
            losses = self._step(self._noise())
        float(losses["critic_loss"])

    def _noise(self):
        case, device = self.case, {"device": _DEVICE}
        noise = {
            "critic_z": torch.randn(case.critic_steps, BATCH, case.n_z, **device),
            "generator_z": torch.randn(case.generator_batch, case.n_z, **device),
        }
        if case.clamped:
            noise["directions"] = functional.normalize(torch.randn(case.generator_batch, case.n_z, **device))
        if not case.is_dcgan:
            noise["alpha"] = torch.rand(case.critic_steps, BATCH, 1, 1, 1, **device)
            noise["generator_labels"] = torch.randint(10, [case.generator_batch], **device)
            noise["dequantisation"] = torch.rand_like(self._images, dtype=torch.float32) / 128
        return noise

    def _step(self, noise):
        self._uncompiled_critic.requires_grad_(True)
        if self.case.is_dcgan:
            images = self._images.float() / 127.5 - 1
        else:
            images = self._images.float() / 128 - 1 + noise["dequantisation"]
        updates = [self._update_critic(images, noise, k) for k in range(self.case.critic_steps)]
        losses = {name: sum(update[name] for update in updates) / len(updates) for name in updates[0]}
        self._uncompiled_critic.requires_grad_(False)
        return losses | self._update_generator(noise)

    def _update_critic(self, images, noise, k):
        part = slice(k * BATCH, (k + 1) * BATCH)
        real, z, labels = images[part], noise["critic_z"][k], self._labels[part]
        with self._autocast():
            minimised, measured = self._critic_objective(
                real, z, labels, None if self.case.is_dcgan else noise["alpha"][k]
            )
        self._descend("critic", minimised)
        return {name: value.detach() for name, value in measured.items()}

    def _critic_objective(self, real, z, labels, alpha):
        with torch.no_grad():
            fake = self.generator(z) if self.case.is_dcgan else self.generator(z, labels)
        if self.case.is_dcgan:
            loss = functional.softplus(-self.critic(real)).mean() + functional.softplus(self.critic(fake)).mean()
            return loss, {"critic_loss": loss}
        (logits, classes), (fake_logits, _) = self.critic(real), self.critic(fake)
        loss, penalty = fake_logits.mean() - logits.mean(), self._slope_penalty(real, fake, alpha)
        class_loss = functional.cross_entropy(classes, labels)
        measured = {"critic_loss": loss, "critic_penalty": penalty, "critic_class_loss": class_loss}
        return loss + penalty + class_loss, measured

    def _slope_penalty(self, real, fake, alpha):
        between = (real + alpha * (fake - real)).requires_grad_(True)
        logits, _ = self._uncompiled_critic(between)
        (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
        return 10 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    def _update_generator(self, noise):
        with self._autocast():
            minimised, measured = self._generator_objective(noise)
        self._descend("generator", minimised)
        return {name: value.detach() for name, value in measured.items()}

    def _generator_objective(self, noise):
        z = noise["generator_z"]
        if self.case.clamped:
            z = torch.cat([z, z + noise["directions"]])
        if self.case.is_dcgan:
            images = self.generator(z)
            x = images[: self.case.generator_batch]
            loss = functional.softplus(-self.critic(x)).mean()
            measured, minimised = {"generator_loss": loss}, loss
        else:
            labels = noise["generator_labels"]
            images = self.generator(z, torch.cat([labels, labels]) if self.case.clamped else labels)
            x = images[: self.case.generator_batch]
            logits, classes = self.critic(x)
            loss, class_loss = -logits.mean(), functional.cross_entropy(classes, labels)
            measured, minimised = {"generator_loss": loss, "generator_class_loss": class_loss}, loss + 0.1 * class_loss
        if self.case.clamped:
            q = (x - images[self.case.generator_batch :]).flatten(1).norm(dim=1)  # the step in z has length 1
            penalty = ((q - 20).clamp(min=0).square() + (q - 1).clamp(max=0).square()).mean()
            measured, minimised = {**measured, "generator_penalty": penalty}, minimised + penalty
        return minimised, measured

    def _descend(self, name, loss):
        optimizer, (_, _, beta_2, epsilon) = self._optimizers[name], self.case.adam
        self._updates[name] += 1  # Keras adds ε to √v before v is corrected for its bias
        optimizer.param_groups[0]["eps"] = epsilon / math.sqrt(1 - beta_2 ** self._updates[name])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


class Generator(nn.Module):
    """DCGAN's."""

    def __init__(self, case):
        super().__init__()
        smallest, widths = case.pyramid
        self.shape = (widths[-1], smallest, smallest)
        self.dense = nn.Linear(case.n_z, widths[-1] * smallest * smallest)
        layers = []
        for width, narrower in zip(widths[::-1], [*widths[-2::-1], case.image_shape[-1]], strict=True):
            layers += [_normalisation(width), nn.ReLU()]
            layers += [nn.ConvTranspose2d(width, narrower, 5, 2, padding=2, output_padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z):
        x = self.dense(z).unflatten(1, self.shape).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.layers(x).float())  # images and logits are float32 in every precision


class Critic(nn.Module):
    """DCGAN's."""

    def __init__(self, case):
        super().__init__()
        smallest, widths = case.pyramid
        layers = [nn.Conv2d(case.image_shape[-1], widths[0], 5, 2, padding=2), nn.LeakyReLU(0.2)]
        for width, wider in itertools.pairwise(widths):
            layers += [nn.Conv2d(width, wider, 5, 2, padding=2), _normalisation(wider), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.shape = (widths[-1], smallest, smallest)
        self.dense = nn.Linear(widths[-1] * smallest * smallest, 1)

    def forward(self, images):
        return self.dense(self.layers(images).flatten(1)).float()


class ConditionalNormalisation(nn.Module):
    """Batch normalisation with a scale and an offset for each class."""

    def __init__(self, channels):
        super().__init__()
        self.normalisation = nn.BatchNorm2d(channels, affine=False, momentum=0.1, eps=1e-5)
        self.gamma, self.beta = (nn.Embedding(10, channels) for _ in range(2))
        nn.init.ones_(self.gamma.weight)
        nn.init.zeros_(self.beta.weight)

    def forward(self, x, labels):
        return self.normalisation(x) * self.gamma(labels)[..., None, None] + self.beta(labels)[..., None, None]


class Up(nn.Module):
    """A residual block that doubles height and width."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.shortcut = nn.Conv2d(channels, channels, 1)
        self.normalisations = nn.ModuleList(ConditionalNormalisation(channels) for _ in range(2))

    def forward(self, x, labels):
        branch = functional.relu(self.normalisations[0](x, labels))
        branch = self.first(functional.interpolate(branch, scale_factor=2))
        branch = self.second(functional.relu(self.normalisations[1](branch, labels)))
        return self.shortcut(functional.interpolate(x, scale_factor=2)) + branch


class ResNetGenerator(nn.Module):
    """WGAN-GP's."""

    def __init__(self, case):
        super().__init__()
        smallest, blocks = case.size, 0
        while smallest % 2 == 0 and smallest // 2 >= 4:
            smallest, blocks = smallest // 2, blocks + 1
        self.shape = (case.channels, smallest, smallest)
        self.dense = nn.Linear(case.n_z, case.channels * smallest * smallest)
        self.blocks = nn.ModuleList(Up(case.channels) for _ in range(blocks))
        self.normalisation = _normalisation(case.channels)
        self.last = nn.Conv2d(case.channels, 3, 3, padding=1)

    def forward(self, z, labels):
        x = self.dense(z).unflatten(1, self.shape).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.last(functional.relu(self.normalisation(x))).float())


class Block(nn.Module):
    """A residual block of the critic; the first one begins with images."""

    def __init__(self, channels, colours=None, halves=False):
        super().__init__()
        self.is_first, self.halves = colours is not None, halves
        self.first = nn.Conv2d(colours or channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(colours or channels, channels, 1) if halves else nn.Identity()

    def forward(self, x):
        branch = self.second(functional.relu(self.first(x if self.is_first else functional.relu(x))))
        if not self.halves:
            return x + branch
        branch = functional.avg_pool2d(branch, 2)
        if self.is_first:
            return self.shortcut(functional.avg_pool2d(x, 2)) + branch
        return functional.avg_pool2d(self.shortcut(x), 2) + branch


class ResNetCritic(nn.Module):
    """WGAN-GP's."""

    def __init__(self, case):
        super().__init__()
        c = case.channels
        self.blocks = nn.Sequential(Block(c, colours=3, halves=True), Block(c, halves=True), Block(c), Block(c))
        self.logits, self.classes = nn.Linear(c, 1), nn.Linear(c, 10)

    def forward(self, images):
        x = functional.relu(self.blocks(images)).mean(dim=(2, 3))
        return self.logits(x).float(), self.classes(x).float()


def _normalisation(channels):
    return nn.BatchNorm2d(channels, momentum=0.1, eps=1e-5)


def _load(network, weights):
    """Kernels and biases in the order in which the layers were made, mirrored and in PyTorch's layout."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    channels, height, width = getattr(network, "shape", (0, 0, 0))
    for layer, kernel, bias in zip(layers, weights[::2], weights[1::2], strict=True):
        maps = (-1, height, width, channels)
        if not isinstance(layer, nn.Linear):
            kernel = kernel[::-1, ::-1].transpose(3, 2, 0, 1)
        elif kernel.shape[1] == channels * height * width:  # latents to maps
            kernel, bias = (_mirrored(a.reshape(maps)).reshape(-1, a.shape[-1]) for a in (kernel, bias))
            kernel, bias = kernel.T, bias[0]
        elif kernel.shape[0] == channels * height * width:  # maps to a logit
            kernel = _mirrored(kernel.T.reshape(maps)).reshape(1, -1)
        else:
            kernel = kernel.T
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel.copy()))
            layer.bias.copy_(torch.from_numpy(bias.copy()))


def _mirrored(maps):
    """[N, height, width, channels] turned in height and width, as [N, channels, height, width]."""
    return maps[:, ::-1, ::-1].transpose(0, 3, 1, 2)


def device():
    """What PyTorch computes on."""
    return "GPU" if _DEVICE == "cuda" else "CPU"
