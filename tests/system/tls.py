"""Certificates for tests, made by openssl."""
import subprocess


def run(*command, directory):
    subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)


class Authority:
    """A CA that writes <name>.crt and <name>.key into its directory."""

    def __init__(self, directory, name="ca"):
        self.dir = directory
        self.name = name
        self.serial = 1000
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "30",
            "-subj", f"/CN={name}", directory=directory)

    def path(self, name):
        return str(self.dir / name)

    @property
    def cert(self):
        return self.path(self.name + ".crt")

    def issue(self, name, password=None):
        """(certificate, key); a later call for the same name has another serial."""
        self.serial += 1
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
            directory=self.dir)
        extensions = self.dir / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.crt",
            "-CAkey", f"{self.name}.key", "-set_serial", str(self.serial), "-days", "30",
            "-extfile", str(extensions), "-out", f"{name}.new", directory=self.dir)
        (self.dir / f"{name}.new").replace(self.dir / f"{name}.crt")
        if password:
            run("ec", "-in", f"{name}.key", "-aes256", "-passout", f"pass:{password}",
                "-out", f"{name}.enc", directory=self.dir)
            (self.dir / f"{name}.enc").replace(self.dir / f"{name}.key")
        return self.path(name + ".crt"), self.path(name + ".key")
