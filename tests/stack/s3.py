"""An S3 server for the tests of archives: moto's, as a process of its own, with a bucket and a user who may use it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fastzero_core.polling import wait_until

STARTS_WITHIN = 60  # seconds
BUCKET = "archive"

# What boto3 does here, it does in a process of its own, as fastzero has it: it would stay in this one.
_PREPARE = """
import json, sys, boto3
endpoint, bucket = sys.argv[1:]
options = dict(endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
boto3.client("s3", **options).create_bucket(Bucket=bucket)
iam = boto3.client("iam", **options)
iam.create_user(UserName="ana")
allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="ana", PolicyName="s3", PolicyDocument=json.dumps(allowed))
print(json.dumps(iam.create_access_key(UserName="ana")["AccessKey"], default=str))
"""
_REMOVE = """
import sys, boto3
endpoint, bucket, *keys = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint)
for key in keys:
    client.delete_object(Bucket=bucket, Key=key)
"""


@dataclass(frozen=True)
class S3:
    """A server with a bucket. It refuses whoever does not have these credentials."""

    endpoint: str
    key: str
    secret: str

    @property
    def credentials(self) -> str:
        return f"[default]\naws_access_key_id = {self.key}\naws_secret_access_key = {self.secret}\nregion = us-east-1\n"

    def remove(self, *keys: str) -> None:
        """Delete objects of the bucket."""
        environment = {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}
        _run(_REMOVE, self.endpoint, BUCKET, *keys, **environment)


@contextmanager
def s3_server(folder: Path, port: int, host: str = "127.0.0.1") -> Iterator[S3]:
    """Serve S3 for one block."""
    endpoint = f"http://{host}:{port}"
    with (folder / "s3.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        assert wait_until(lambda: _answers(endpoint), STARTS_WITHIN)
        made = json.loads(_run(_PREPARE, endpoint, BUCKET))
        _post(f"{endpoint}/moto-api/reset-auth", b"0")  # from now on credentials count
        yield S3(endpoint, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        process.terminate()
        process.wait()


def _answers(endpoint: str) -> bool:
    assert urlsplit(endpoint).scheme == "http"
    try:
        urllib.request.urlopen(f"{endpoint}/moto-api/").close()
    except (OSError, urllib.error.URLError):
        return False
    return True


def _post(url: str, body: bytes) -> None:
    plain = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, data=body, headers=plain, method="POST")).close()


def _run(code: str, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout
