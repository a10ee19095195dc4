"""Training steps on the GPU against a peer trained by automatic differentiation."""

import numpy as np
import torch
from _gpu_machine import with_bound
from _timing import alternate
from _training_steps import (
    adapted_intercepts,
    largest_difference,
    our_gradients,
    our_step,
    torch_gradients,
    torch_step,
)
from training_step import fastest

#: Images of an epoch, and of a step.
EPOCH = 50_000
BATCH_SIZES = (128, 512)
TRIAL_BATCH_SIZES = (2, 4)

NAMES = ("a", "b", "5 layers", "14 layers")
# What takes the compiler minutes on a CPU is left out of trials.
TRIAL_NAMES = ("a", "5 layers")

#: Images whose gradients are compared, and by how much a layer's may differ from
#: float64: rounding makes up to 1e-3, and wrong formulas 5e-2 or more.
N_COMPARED = 16
BOUND = 1e-2


def make_steps(machine, name, batch_size, kinds, intercepts=None):
    """Return our step and the peer's, with float32 and TF32, by their names."""
    steps = {"ours": our_step(name, batch_size, machine.engine)}
    for kind, compiled in kinds.items():
        for channels_last in (False, True):
            step = torch_step(
                *(name, batch_size, compiled, machine.device, channels_last),
                intercepts=intercepts,
            )
            order = "channels last" if channels_last else "channels first"
            steps[f"{kind}, {order}"] = machine.with_tf32(False, step)
        # The last one, since TF32 prefers channels last.
        steps[f"{kind}, {order}, TF32"] = machine.with_tf32(True, step)
    return steps


def warm(machine, steps):
    """Return the steps that fit into memory, each having run twice."""
    fitting = {}
    for key, step in steps.items():
        try:
            alternate({key: step}, 2, machine.synchronize)
        except (torch.OutOfMemoryError, MemoryError):
            print(f"   {key[0]} with {key[1]} images: does not fit")
        else:
            fitting[key] = step
        # The peer's activations would stand in the way of ours.
        machine.clear()
    return fitting


def check(machine, name, steps):
    """Print how far gradients are from those of our CPU engine in float64."""
    expected = our_gradients(our_step(name, N_COMPARED, dtype=np.float64))
    texts = []
    for kind, step in steps.items():
        gradients = (our_gradients if kind == "ours" else torch_gradients)(step)
        value = largest_difference(gradients, expected)
        rounded = "TF32" in kind or (machine.is_tf32 and kind == "ours")
        bound = np.inf if rounded else BOUND
        texts.append(f"{kind} {with_bound(value, bound)}")
    print(
        f"{name}: gradients, largest relative difference (l2) of a layer from float64: "
        f"{'; '.join(texts)}",
        flush=True,
    )


def step_table(machine, options):
    """Print the times of training steps, and of the epochs that they make."""
    print("Training steps: gradients of a batch in anchors and head, images on the GPU")
    kinds = {"eager": False}
    if not options.no_compile:
        kinds["compiled"] = True
    sizes = TRIAL_BATCH_SIZES if machine.is_trial else BATCH_SIZES
    for name in options.steps:
        if machine.is_trial and name not in TRIAL_NAMES:
            continue
        torch.compiler.reset()
        machine.clear()
        # Not compiled: that would count against the limit of variants.
        compared = make_steps(
            *(machine, name, N_COMPARED, {"eager": False}),
            intercepts=adapted_intercepts(name, N_COMPARED),
        )
        check(machine, name, compared)
        steps = {
            (kind, size): step
            for size in sizes
            for kind, step in make_steps(machine, name, size, kinds).items()
        }
        best = fastest(warm(machine, steps), options.repeats, machine.synchronize)
        print(
            "network   | step                           | best batch | ms/image | "
            "over ours | s/epoch"
        )
        for kind, (value, size) in best.items():
            print(
                f"{name:9} | {kind:30} | {size:10} | {1000 * value:8.4f} | "
                f"{value / best['ours'][0]:9.2f} | {EPOCH * value:7.1f}",
                flush=True,
            )
    print(f"   an epoch: {EPOCH} images, without the head's fit and the validation")
