"""Federated learning with Flower: its FedAdam, whose server step is one pass over all models.

pip install flwr && python examples/federated.py --rounds 60
"""

import argparse
import logging

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam
from flwr.supercore.task_identity import TaskIdentity

import fastadam as fa

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=60, help="default: 60")
rounds = parser.parse_args().rounds
logging.getLogger("flwr").setLevel(logging.ERROR)


class FusedFedAdam(FedAdam):
    opt = None

    def aggregate_train(self, server_round, replies):
        contents = [reply.content for reply in self._check_and_log_replies(replies, True)[0]]
        counts = np.array([each["metrics"][self.weighted_by_key] for each in contents])
        models = [{k: a.numpy() for k, a in content["arrays"].items()} for content in contents]
        if self.opt is None:  # for FedYogi, fa.Yogi with initial_accumulator_value=0.0
            params = {name: np.array(array) for name, array in self.current_arrays.items()}
            betas = self.beta_1, self.beta_2
            self.opt = fa.Adam(params, betas=betas, eps=self.tau, bias_correction=False)
        beta1, beta2 = (beta ** (server_round + 1) for beta in self.opt.param_groups[0]["betas"])
        lr = self.eta * (1 - beta2) ** 0.5 / (1 - beta1)
        self.opt.step(target=list(zip(counts / counts.sum(), models, strict=True)), lr=lr)
        metrics = self.train_metrics_aggr_fn(contents, self.weighted_by_key)
        return ArrayRecord({k: Array(a) for k, a in self.opt.params.items()}), metrics


class Clients:  # ten in this process, each with a linear regression
    truth = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)

    def get_node_ids(self):
        return range(1, 11)

    def send_and_receive(self, messages, timeout=None):
        for message in messages:
            w = message.content["arrays"]["w"].numpy()
            x = np.random.default_rng().normal(size=(100, 20)).astype(np.float32)
            new = w - 0.1 * x.T @ (x @ (w - self.truth)) / len(x)
            metrics = {"num-examples": len(x), "loss": float(((w - self.truth) ** 2).mean())}
            answer = {"arrays": ArrayRecord({"w": Array(new)}), "metrics": MetricRecord(metrics)}
            yield Message(content=RecordDict(answer), reply_to=message)


TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # Flower's runtime does it
start = ArrayRecord({"w": Array(np.zeros((20, 1), np.float32))})
result = FusedFedAdam(fraction_evaluate=0.0).start(Clients(), start, num_rounds=rounds)
print(f"round {rounds}: loss {result.train_metrics_clientapp[rounds]['loss']:.4f}")
