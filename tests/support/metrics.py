"""What GET /metrics says, read by Prometheus's own parser."""
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One page: values by name and labels, families by name."""

    def __init__(self, text):
        self.families, self.samples = {}, {}
        for family in text_string_to_metric_families(text):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert name not in self.families, f"{name} twice"
            self.families[name] = family
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.samples, f"{key} twice"
                self.samples[key] = sample.value

    def get(self, name, **labels):
        """The value of one sample; None when there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def sum(self, name, **labels):
        """Over all samples of this name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= set(has))


def scrape(service, path="/metrics", port=None):
    if port is not None:
        service.port, port = port, service.port
    try:
        reply = service.get(path)
    finally:
        if port is not None:
            service.port = port
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "text/plain; version=0.0.4"
    return Scrape(reply.body.decode())
