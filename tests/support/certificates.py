"""An authority of a test's own, and certificates of every kind a receiver might show: good ones, and those to be refused."""
import subprocess


def openssl(directory, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=directory, check=True, capture_output=True, timeout=60)


class Authority:
    """directory/ca.pem; nobody else trusts it."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = directory, name
        self.path = directory / f"{name}.pem"
        openssl(directory, "req", "-x509", "-nodes", *NEW_KEY, "-keyout", f"{name}.key", "-out", self.path, "-days", 2, "-subj", f"/CN=Test {name}",
                "-addext", "keyUsage=critical,keyCertSign")

    def certificate(self, name, subject_alt_name, days=2, usage="serverAuth"):
        """(certificate, key), signed by this authority; of days below 0 it is over."""
        paths = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        openssl(self.directory, "req", "-nodes", *NEW_KEY, "-keyout", paths[1], "-out", f"{name}.csr", "-subj", f"/CN={name}",
                "-addext", f"subjectAltName={subject_alt_name}", "-addext", f"extendedKeyUsage={usage}")
        openssl(self.directory, "x509", "-req", "-in", f"{name}.csr", "-CA", self.path, "-CAkey", f"{self.name}.key", "-copy_extensions", "copy",
                "-days", days, "-out", paths[0])
        return paths


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def self_signed(directory, name, subject_alt_name):
    paths = directory / f"{name}.pem", directory / f"{name}.key"
    openssl(directory, "req", "-x509", "-nodes", *NEW_KEY, "-keyout", paths[1], "-out", paths[0], "-days", 2, "-subj", f"/CN={name}",
            "-addext", f"subjectAltName={subject_alt_name}")
    return paths
