"""Under Lightning and the Hugging Face Trainer the same steps are recorded as in a loop of one's own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.torch_bridge.small_network import network, sgd  # noqa: E402
from torch_bridge.callbacks import lightning_callback, trainer_callback  # noqa: E402
from torch_bridge.evaluate import evaluate  # noqa: E402
from torch_bridge.recorder import Recorder, RecordingError  # noqa: E402
from torch_bridge.run_log import RunLog  # noqa: E402

# Both libraries warn about their own and each other's use of torch, which is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
BATCHES, BATCH = 12, 8


def samples():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(BATCHES * BATCH, 5, generator=generator).double(), torch.randint(
        3, (BATCHES * BATCH,), generator=generator
    )


def by_hand(folder, epochs=1):
    symmetries = network()
    optimizer = sgd(symmetries, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
    with Recorder(optimizer, symmetries, folder, every=1):
        for _ in range(epochs):
            for x, y in zip(*(part.split(BATCH) for part in samples()), strict=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(symmetries.model(x), y).backward()
                nn.utils.clip_grad_norm_(symmetries.model.parameters(), 0.5)
                optimizer.step()
                schedule.step()
    return RunLog.open(folder)


def assert_same(log, expected):
    assert (log.complete, log.steps) == (True, expected.steps)
    for group, columns in enumerate(expected.header.groups):
        for name in columns.channels:
            np.testing.assert_allclose(log.channel(group, name), expected.channel(group, name), rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(log.charge(group), expected.charge(group), rtol=1e-10, atol=1e-13)
    assert evaluate(log).worst("exact") <= 1e-12


# --- Lightning ---


def lightning_parts():
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self, symmetries):
            super().__init__()
            self.net, self.symmetries = symmetries.model, symmetries

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = sgd(self.symmetries, momentum=0.9)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def trainer(callback, epochs, **options):
        return lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=[callback],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=0.5,
            **({"enable_checkpointing": False} | options),
        )

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*samples()), batch_size=BATCH)
    return Module, trainer, data


def test_lightning_records_what_a_loop_of_ones_own_records(tmp_path):
    module, trainer, data = lightning_parts()
    symmetries = network()
    trainer(lightning_callback(symmetries, tmp_path / "run"), 2).fit(module(symmetries), data)
    assert_same(RunLog.open(tmp_path / "run"), by_hand(tmp_path / "loop", 2))


def test_lightning_goes_on_from_a_checkpoint(tmp_path):
    module, trainer, data = lightning_parts()
    symmetries = network()
    first = trainer(
        lightning_callback(symmetries, tmp_path / "run"), 1, enable_checkpointing=True, default_root_dir=tmp_path
    )
    first.fit(module(symmetries), data)
    first.save_checkpoint(tmp_path / "checkpoint")
    symmetries = network()
    second = trainer(lightning_callback(symmetries, tmp_path / "run"), 2)
    second.fit(module(symmetries), data, ckpt_path=tmp_path / "checkpoint")
    assert_same(RunLog.open(tmp_path / "run"), by_hand(tmp_path / "loop", 2))


def test_an_exception_under_lightning_leaves_a_readable_log_that_is_not_complete(tmp_path):
    module, trainer, data = lightning_parts()

    class Failing(module):
        def training_step(self, batch, index):
            if index == 5:
                raise ArithmeticError
            return super().training_step(batch, index)

    symmetries = network()
    with pytest.raises(ArithmeticError):
        trainer(lightning_callback(symmetries, tmp_path / "run"), 1).fit(Failing(symmetries), data)
    log = RunLog.open(tmp_path / "run")
    assert (log.steps, log.complete) == (5, False)


def test_under_lightning_another_optimizer_is_refused(tmp_path):
    module, trainer, data = lightning_parts()

    class Adam(module):
        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    symmetries = network()
    with pytest.raises(RecordingError, match=r"expected torch\.optim\.SGD itself"):
        trainer(lightning_callback(symmetries, tmp_path / "run"), 1).fit(Adam(symmetries), data)


# --- Hugging Face ---


class Wrapped(nn.Module):
    """The network as the Trainer wants it: named inputs, and the loss first among the outputs."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def hugging_face(symmetries, folder, epochs, callback):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    optimizer = sgd(symmetries, momentum=0.9)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "hf"),
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        max_grad_norm=0.5,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="epoch",
        logging_strategy="no",
    )

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *arguments):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    data = [{"x": x, "labels": y} for x, y in zip(*samples(), strict=True)]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
    return InOrder(
        Wrapped(symmetries.model), arguments, train_dataset=data, callbacks=[callback], optimizers=(optimizer, schedule)
    )


def test_the_hugging_face_trainer_records_what_a_loop_of_ones_own_records(tmp_path):
    pytest.importorskip("transformers")
    symmetries = network()
    hugging_face(symmetries, tmp_path, 2, trainer_callback(symmetries, tmp_path / "run")).train()
    assert_same(RunLog.open(tmp_path / "run"), by_hand(tmp_path / "loop", 2))


def test_the_hugging_face_trainer_goes_on_from_a_checkpoint(tmp_path):
    pytest.importorskip("transformers")
    symmetries = network()
    hugging_face(symmetries, tmp_path, 2, trainer_callback(symmetries, tmp_path / "run")).train()
    symmetries = network()
    again = hugging_face(symmetries, tmp_path, 2, trainer_callback(symmetries, tmp_path / "run"))
    again.train(resume_from_checkpoint=str(tmp_path / "hf" / "checkpoint-12"))
    assert_same(RunLog.open(tmp_path / "run"), by_hand(tmp_path / "loop", 2))


# --- without them ---


@pytest.mark.parametrize(("make", "name"), [(lightning_callback, "lightning"), (trainer_callback, "transformers")])
def test_without_the_library_the_callback_says_what_to_install(tmp_path, monkeypatch, make, name):
    import sys

    for module in (name, f"{name}.pytorch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RecordingError, match=rf"pip install 'nmech\[{name}\]'"):
        make(network(), tmp_path / "run")
