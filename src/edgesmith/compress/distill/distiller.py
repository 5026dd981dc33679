"""A distiller: teachers and losses, attached to any training loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.distill.features import Features, on_example
from edgesmith.compress.distill.teachers import Shares, averaged
from edgesmith.compress.distill.term import Seen, Term
from edgesmith.compress.training.batches import Batch, Data
from edgesmith.compress.training.evaluate import device_of, logits_of, modes_kept
from edgesmith.errors import BadInput

__all__ = ["Distiller"]


class Distiller:
    """The loss of a student with one or more teachers.

    In a loop of one's own::

        kd = Distiller(teacher, student, [SoftLogits(T=4), AttentionTransfer({"layer3": "blocks.5"})])
        ...
            loss = kd(inputs, labels, student(inputs))

    With ``fit``: ``fit(student, data, settings, loss=kd, extra=[kd.adapters])``. Afterwards, and before the student is
    copied, pickled or exported: ``kd.close()``. Losses with parameters (``Hints``) need an ``example``, and an
    optimiser of one's own needs ``kd.adapters.parameters()``.

    The teachers run on the same inputs as the student, on their device (teachers elsewhere are moved there), in
    evaluation mode and without gradients; the mode of parts that are the student's too is afterwards as it was.
    That the student sees what the teacher sees, augmented alike, and that training is long, decide more than the choice
    of losses (arXiv:2106.05237).

    Args:
        teacher: one module or several; they get the student's inputs.
        student: the module that is trained; other modules may call it (DDP), its own layers are hooked.
        terms: losses; their layers are hooked until ``close``.
        hard: weight of the cross entropy with the labels; None: 0.1 beside losses that stand in for labels
            (``SoftLogits``), 0 beside those that contain them (``Margin``, ``Triplet``), else 1.
        label_smoothing: of that cross entropy.
        shares: how several teachers are mixed: ``averaged``, ``weighted([...])`` or ``confident``.
        example: inputs (N, ...) that show the losses which shapes features have.

    Raises:
        BadInput: a layer does not exist (similar names are listed), an example is needed or does not fit, or the
            student is its own teacher.
    """

    def __init__(
        self,
        teacher: nn.Module | Sequence[nn.Module],
        student: nn.Module,
        terms: Sequence[Term],
        *,
        hard: float | None = None,
        label_smoothing: float = 0.0,
        shares: Shares = averaged,
        example: Tensor | None = None,
    ) -> None:
        self._teachers = nn.ModuleList([teacher] if isinstance(teacher, nn.Module) else teacher)
        if not len(self._teachers) or not terms:
            raise BadInput("no teacher" if terms else "no losses", where="distillation")
        if any(each is student for each in self._teachers):
            hint = "a copy as it is now: copy.deepcopy(student); one that learns with it: MovingTeacher(student).module"
            raise BadInput("the student is its own teacher", where="distillation", hint=hint)
        own = set(student.modules())
        self._common = nn.ModuleList(part for part in self._teachers.modules() if part in own)
        self._label_smoothing, self._shares = label_smoothing, shares
        self._hard = min(term.hard for term in terms) if hard is None else hard
        self._known: Tensor | None = None
        self.parts: dict[str, Tensor] = {}
        """The last value of each loss, without its weight: ``labels``, and by class (``Hints``, ``Hints 2``)."""
        for term in terms:
            if term.needs_layers and not term.layers:
                raise BadInput("no layers", where=f"distillation: {type(term).__name__}")
        names = [pair for term in terms for pair in term.layers.items()]
        hooked = self._teachers if len(self._teachers) > 1 else self._teachers[0]
        self._theirs = Features(hooked, (name for name, _ in names), "the teacher")
        try:
            self._own = Features(student, (layer for _, layer in names), "the student")
        except BaseException:
            self._theirs.close()
            raise
        self.adapters = nn.ModuleList(terms)
        """The losses as modules, whose parameters (regressors, class centres) are trained with the student."""
        try:
            self._build(student, example)
        except BaseException:
            self.close()
            raise
        self.adapters.to(device_of(student))

    def __call__(self, inputs: Tensor, labels: Tensor, outputs: object, indices: Tensor | None = None) -> Tensor:
        """The loss of a batch on which the student has just run.

        Args:
            inputs: (N, ...), what the student got.
            labels: (N,).
            outputs: the student's outputs, (N, C) or several of which that is the first.
            indices: (N,), the examples' numbers; with them ``remember``'s outputs take the teachers' place.
        """
        student = logits_of(outputs).float()
        # Before the teachers run, who may have these layers too.
        features = {name: self._own[name] for term in self._terms() for name in term.layers.values()}
        with torch.no_grad():
            logits = self._logits(inputs, indices)
            shares = self._shares(logits, labels)
        with torch.autocast(student.device.type, enabled=False):
            self.parts = {}
            total = student.new_zeros(())
            if self._hard:
                hard = functional.cross_entropy(student, labels, label_smoothing=self._label_smoothing)
                total = total + self._hard * hard
                self.parts["labels"] = hard.detach()
            for term in self._terms():
                pairs = [
                    (self._theirs[name].detach().float(), features[own].float()) for name, own in term.layers.items()
                ]
                value = term(Seen(labels, student, logits, shares, pairs))
                total = total + term.weight * value
                self.parts[self._label(term)] = value.detach()
        self._own.clear()
        self._theirs.clear()
        return total

    def of_batch(self, module: nn.Module, batch: Batch) -> Tensor:
        """For ``fit``: runs the student, and looks up what ``remember`` computed."""
        return self(batch.inputs, batch.labels, module(batch.inputs), batch.indices)

    def remember(self, data: Data) -> None:
        """Run the teachers once on all examples; batches with ``indices`` then need no teacher.

        For data that is not augmented. With augmentation the student would be told about other pictures than it sees,
        which costs much of the gain.

        Args:
            data: every example once, such as ``train.evaluation()``.

        Raises:
            BadInput: a loss needs the teacher's features, which are not kept, or examples are missing.
        """
        for term in self._terms():
            if term.layers:
                raise BadInput(
                    "only the teacher's outputs are kept, not its features",
                    where=f"distillation: {type(term).__name__}",
                )
        self._known = None
        outputs, numbers = [], []
        with torch.no_grad():
            for batch in data.batches(0):
                outputs.append(self._logits(batch.inputs.to(device_of(self._teachers)), None))
                numbers.append(batch.indices)
        indices = torch.cat(numbers).cpu()
        if not torch.equal(indices.sort().values, torch.arange(len(indices))):
            raise BadInput("some examples are missing or come twice", where="distillation", hint="data.evaluation()")
        self._known = torch.cat(outputs, 1)[:, indices.argsort().to(outputs[0].device)]

    def close(self) -> None:
        """Remove all hooks; the distiller is of no use afterwards."""
        self._theirs.close()
        self._own.close()

    def __enter__(self) -> Distiller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _terms(self) -> list[Term]:
        return [term for term in self.adapters if isinstance(term, Term)]

    def _label(self, term: Term) -> str:
        kind = type(term).__name__
        number = sum(name.partition(" ")[0] == kind for name in self.parts) + 1
        return kind if number == 1 else f"{kind} {number}"

    def _logits(self, inputs: Tensor, indices: Tensor | None) -> Tensor:
        """(K, N, C): the teachers' outputs."""
        if self._known is not None and indices is not None:
            return self._known[:, indices.to(self._known.device)].to(inputs.device)
        if device_of(self._teachers) != inputs.device:
            self._teachers.to(inputs.device)
        with modes_kept(self._common):
            if any(part.training for part in self._teachers.modules()):
                self._teachers.eval()
            return torch.stack([logits_of(teacher(inputs)).float() for teacher in self._teachers])

    def _build(self, student: nn.Module, example: Tensor | None) -> None:
        with modes_kept(self._common):
            self._teachers.eval()
        needing = [term for term in self._terms() if term.needs_shapes]
        if not needing:
            return
        if example is None:
            raise BadInput(
                f"{type(needing[0]).__name__} must know the shapes of features",
                where="distillation",
                hint="Distiller(..., example=inputs)",
            )
        example = example.to(device_of(student))
        with modes_kept(student), torch.no_grad():
            student.eval()
            with on_example("the student"):
                own = logits_of(student(example))
            features = {layer: tuple(self._own[layer].shape) for term in needing for layer in term.layers.values()}
            with on_example("the teacher"):
                theirs = self._logits(example, None)[0]
        for term in needing:
            if term.layers:
                term.build([(tuple(self._theirs[name].shape), features[layer]) for name, layer in term.layers.items()])
            else:
                term.build([(tuple(theirs.shape), tuple(own.shape))])
        self._own.clear()
        self._theirs.clear()
