"""deploy/stack.yaml made for real, on an emulator that enforces permissions.

Signatures are verified and each call is held against IAM there. What the template asks for and
the emulator cannot make is found by asking it, and left out: `Stack.left_out` names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

from irs import settings as settings_module
from irs.aws import clients
from irs.settings import Settings
from irs.testing.proxy import Exchange
from tests.processes import ROOT, until

TEMPLATE = ROOT / "deploy" / "stack.yaml"
TIERS = ("Web", "Worker", "Scaler")
#: The emulator's own network, and what must be given besides.
GIVEN = {
    "ImageId": "ami-0ee8cf7b8a34448a6",
    "VpcId": "vpc-00000001", "SubnetIds": "subnet-00000001,subnet-00000002",
    "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/0", "ClientCidr": "203.0.113.0/24",
}
#: What answers to a caller who may not, by service.
_REFUSALS = re.compile(rb"AccessDenied|UnauthorizedOperation|AuthorizationError|not authorized to perform")
_KEY = re.compile(r"Credential=([^/%]+)")


def template(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template as plain JSON, its short forms written out."""
    found: dict[str, Any] = json.loads(json.dumps(cfn_yaml.loads(path.read_text("utf-8"))))
    return found


def root(endpoint: str, **values: Any) -> Settings:
    """Settings of the account's root user, whom nothing is refused."""
    return settings_module.build({"aws_endpoint_url": endpoint, "aws_access_key_id": "test",
                                  "aws_secret_access_key": "test", **values})


class Stack:
    """One stack in the account behind ``endpoint``."""

    def __init__(self, endpoint: str, name: str, *, path: Path = TEMPLATE, **parameters: str) -> None:
        self.name = name
        self._root = root(endpoint)
        self._cfn = clients.client(self._root, "cloudformation")
        body = template(path)
        #: resources that the emulator has no way to make
        self.left_out = self._trim(body)
        self._cfn.create_stack(
            StackName=name, TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value}
                        for key, value in (GIVEN | parameters).items() if key in body["Parameters"]])
        found = until(lambda: self._over("CREATE"), 30)
        assert found["StackStatus"] == "CREATE_COMPLETE", self.events()
        self.outputs = {o["OutputKey"]: o["OutputValue"] for o in found["Outputs"]}

    def _trim(self, body: dict[str, Any]) -> set[str]:
        resources = body["Resources"]
        try:
            self._cfn.validate_template(TemplateBody=json.dumps(body))
            unknown: list[str] = []
        except self._cfn.exceptions.ClientError as exc:
            named = re.search(r"Unrecognized resource types: \[(.*)\]", str(exc))
            assert named, exc
            unknown = named[1].split(", ")
        left_out = {name for name, resource in resources.items() if resource["Type"] in unknown
                    # Arithmetic on metrics, which the emulator refuses when it comes to it.
                    or "Metrics" in resource["Properties"]}
        for name in left_out:
            del resources[name]
        return left_out

    def _over(self, verb: str) -> dict[str, Any] | None:
        (found,) = self._cfn.describe_stacks(StackName=self.name)["Stacks"]
        return None if found["StackStatus"] == f"{verb}_IN_PROGRESS" else found

    def events(self) -> list[str]:
        """What failed, and why."""
        return [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}"
                for e in self._cfn.describe_stack_events(StackName=self.name)["StackEvents"]
                if "FAILED" in e["ResourceStatus"]]

    def resources(self) -> dict[str, str]:
        """Logical to physical ids."""
        found = self._cfn.describe_stack_resources(StackName=self.name)["StackResources"]
        return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in found}

    def delete(self) -> None:
        """Return when it is gone."""
        self._cfn.delete_stack(StackName=self.name)

        def gone() -> bool:
            found = self._cfn.list_stacks(StackStatusFilter=["DELETE_COMPLETE", "DELETE_FAILED"])
            mine = [s for s in found["StackSummaries"] if s["StackName"] == self.name]
            assert not any(s["StackStatus"] == "DELETE_FAILED" for s in mine), self.events()
            return bool(mine)

        until(gone, 30)

    # -- what it says ------------------------------------------------------------------------
    def values(self) -> dict[str, str]:
        """The output ``Settings``, by field."""
        lines = (line.partition("=") for line in self.outputs["Settings"].splitlines())
        return {name.removeprefix("IRS_").lower(): value for name, _, value in lines if value}

    def policy(self, tier: str) -> dict[str, Any]:
        """A tier's policy as IAM has it."""
        iam = clients.client(self._root, "iam")
        arn = self.outputs[f"{tier}Policy"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document: dict[str, Any] = iam.get_policy_version(
            PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return document

    def role(self, tier: str) -> dict[str, str]:
        """Credentials of a tier's role, as variables that every AWS client knows."""
        iam, sts = clients.client(self._root, "iam"), clients.client(self._root, "sts")
        arn = iam.get_role(RoleName=self.resources()[f"{tier}Role"])["Role"]["Arn"]
        found = sts.assume_role(RoleArn=arn, RoleSessionName=f"test-{tier}")["Credentials"]
        return {"AWS_ACCESS_KEY_ID": found["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
                "AWS_SESSION_TOKEN": found["SessionToken"]}

    @contextmanager
    def person(self, *tiers: str, endpoint: str, allowed: Sequence[Mapping[str, Any]] = ()
               ) -> Iterator[Settings]:
        """Settings of a user, gone afterwards, with the tiers' policies, or what is ``allowed``, alone."""
        iam, name = clients.client(self._root, "iam"), "-".join((self.name, *tiers))
        arns = [self.outputs[f"{tier}Policy"] for tier in tiers]
        iam.create_user(UserName=name)
        for arn in arns:
            iam.attach_user_policy(UserName=name, PolicyArn=arn)
        if allowed:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps({
                "Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in allowed]}))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        try:
            told = self.values() if "Settings" in self.outputs else {}
            yield settings_module.build(told | {
                "aws_endpoint_url": endpoint, "aws_access_key_id": key["AccessKeyId"],
                "aws_secret_access_key": key["SecretAccessKey"], "poll_wait": 1})
        finally:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
            for arn in arns:
                iam.detach_user_policy(UserName=name, PolicyArn=arn)
            if allowed:
                iam.delete_user_policy(UserName=name, PolicyName="own")
            iam.delete_user(UserName=name)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One call, who made it, and whether it was refused."""

    tier: str
    #: as IAM calls it: ``s3:PutObject``
    action: str
    target: str
    refused: bool


#: Operations whose permission has another name.
_ACTIONS = {
    "s3:HeadObject": "s3:GetObject", "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket", "s3:DeleteObjects": "s3:DeleteObject",
}


class Record:
    """What each tier called. ``keys`` are access keys by tier; the workers' are those not known."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(keys) | {"test": "Root"}
        self._calls: set[Heard] = set()

    def hear(self, exchange: Exchange) -> None:
        """`irs.testing.proxy.Proxy` tells it, in its own thread."""
        request, call = exchange.request, exchange.call
        signed = _KEY.search(request.header("authorization")) or _KEY.search(request.target)
        version = "Version" if "versionId=" in request.target else ""
        operation = f"{call.service}:{call.operation.removesuffix('Batch')}{version}"
        self._calls.add(Heard(
            tier=self._keys.get(signed[1] if signed else "", "Worker"),
            action=_ACTIONS.get(operation, operation), target=call.target,
            refused=exchange.reply.status in (401, 403) or bool(
                exchange.reply.status == 400 and _REFUSALS.search(exchange.reply.body))))

    def calls(self, tier: str) -> list[Heard]:
        """A tier's, each once."""
        return sorted((c for c in self._calls.copy() if c.tier == tier), key=lambda c: (c.action, c.target))

    def actions(self, tier: str) -> set[str]:
        """The permissions that a tier made use of."""
        return {c.action for c in self.calls(tier) if not c.refused}

    def refused(self) -> list[Heard]:
        """Calls of the tiers that were not allowed."""
        return [c for tier in TIERS for c in self.calls(tier) if c.refused]


def documented(who: str) -> list[list[str]]:
    """The actions in a row of docs/operations.md, "Permissions on AWS", a list for each of its parts.

    ``sqs:CreateQueue`` is one, and so is a ``SendMessage`` behind it.
    """
    table = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("## Permissions on AWS")[2]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {who} |"))
    parts, service = [], ""
    for part in row.rpartition(f"| {who} |")[2].split(";"):
        found = []
        for prefix, name in re.findall(r"`(?:(\w+):)?([A-Z][a-z]\w+)`", part):
            service = prefix or service
            found.append(f"{service}:{name}")
        parts.append(found)
    return parts


def actions(policy: Mapping[str, Any]) -> set[str]:
    """What a policy allows."""
    found: set[str] = set()
    for statement in policy["Statement"]:
        allowed = statement["Action"]
        found.update([allowed] if isinstance(allowed, str) else allowed)
    return found
