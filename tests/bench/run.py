"""The command behind scripts/bench: measures, prints tables, saves, compares, draws."""
import argparse
import datetime
import pathlib
import sys

import budget
import goals
import noise
import programs
import saved
import table

SAMPLES = (1, 5, 30)


def numbers(text):
    return [int(word) for word in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", metavar="FILE", help="save the run")
    common.add_argument("--add", action="store_true", help="keep the other rows of FILE, which must be of the same commit")
    common.add_argument("--compare", metavar="FILE|DIR", help="ratios to a saved run")
    common.add_argument("--svg", metavar="DIR", help="draw this run; with show, all runs given")
    modelled = argparse.ArgumentParser(add_help=False)
    modelled.add_argument("--model", default="small", choices=("tiny", "tail", "mini", "small", "base"))
    modelled.add_argument("--max-context", type=int, metavar="C", help="default 512, for tiny and tail 48")
    weighed = argparse.ArgumentParser(add_help=False)
    weighed.add_argument("--weights", default="small", help="B of the machine is that of reading these (small)")
    parts = parser.add_subparsers(dest="benchmark", required=True)

    engine = parts.add_parser("engine", parents=[common, modelled], help="the model alone, one thread")
    engine.add_argument("--runs", type=int, default=5, help="forecasts of each kind (5)")
    engine.add_argument("--only", metavar="WORDS", help="rows with one of these comma-separated words in their name")
    engine.add_argument("--threads", type=int, default=1, help="that compute one forecast together (1)")

    service = parts.add_parser("service", parents=[common, modelled], help="Redis, API, workers and clients")
    service.add_argument("scenario", nargs="?", default="all", choices=("all", "saturated", "rates", "urgent", "memory", "start"))
    service.add_argument("--workers", type=numbers, default=[1, 2], metavar="N,N", help="saturated: worker processes (1,2)")
    service.add_argument("--slots", type=numbers, default=[1, 4, 8, 16], metavar="N,N", help="saturated: slots of each (1,4,8,16)")
    service.add_argument("--seconds", type=float, default=20.0, help="of each measurement (20)")
    service.add_argument("--warm-up", type=float, default=6.0, help="seconds before that (6)")
    service.add_argument("--rates", type=lambda text: [float(word) for word in text.split(",")], default=[1.0, 2.0, 3.0], metavar="R,R",
                         help="rates: tasks a second (1,2,3)")
    service.add_argument("--tasks", type=int, default=20, help="urgent: tasks of each kind (20)")
    service.add_argument("--history", type=int, default=400, metavar="L")
    service.add_argument("--horizon", type=int, default=120, metavar="P")

    queue = parts.add_parser("queue", parents=[common, weighed], help="the protocol with no model")
    queue.add_argument("--tasks", type=int, default=2000, help="of each measurement (2000)")
    queue.add_argument("--seconds", type=float, default=3.0, help="of each throughput (3)")
    queue.add_argument("--connections", default="1,2,4,8,16", metavar="N,N")

    torch = parts.add_parser("torch", parents=[common, modelled], help="the same by PyTorch")
    torch.add_argument("--samples", type=numbers, default=list(SAMPLES), metavar="N,N")
    torch.add_argument("--runs", type=int, default=3)
    torch.add_argument("--no-reference", action="store_true", help="skip the reference's way, which takes a while")

    api = parts.add_parser("api", parents=[common, weighed], help="requests to the API with no worker")
    api.add_argument("--seconds", type=float, default=2.0, help="of each measurement (2)")
    api.add_argument("--log", metavar="FILE", help="where the API logs (a file that is removed)")
    api.add_argument("--only", metavar="WORD", help="rows with that word in the name of their request")

    webhook = parts.add_parser("webhook", parents=[common, weighed], help="kronosq-webhook and receivers, quick and dead")
    webhook.add_argument("--events", type=int, default=10000, help="due at once, to the quick one (10000)")
    webhook.add_argument("--per-host", type=int, default=4, help="deliveries at once to it (4)")
    webhook.add_argument("--owed", type=int, default=10000, help="events owed to each of three dead ones (10000)")
    webhook.add_argument("--seconds", type=float, default=6.0, help="of events to one that is well, with and without those (6)")

    parts.add_parser("precision", parents=[common, modelled], help="what half precision changes in what the model says")

    show = parts.add_parser("show", parents=[common], help="saved runs again")
    show.add_argument("runs", nargs="+", metavar="FILE|DIR")
    return parser.parse_args()


def context_of(options):
    return options.max_context or (48 if options.model in ("tiny", "tail") else 512)


def engine(options):
    folder = programs.model(options.model)
    more = ["--only", options.only] if options.only else []
    return programs.run("engine", "--runs", options.runs, "--threads", options.threads, "--max-context", context_of(options), *more,
                        folder / "model", folder / "tokenizer")


def service(options):
    import service as whole  # it wants the build's place before it is imported
    return whole.measure(options, programs.model(options.model), context_of(options))


def queue(options):
    run = programs.run("queue", "--tasks", options.tasks, "--seconds", options.seconds, "--connections", options.connections)
    return {**run, "machine": programs.machine(programs.model(options.weights), context=48)[0]}


def torch(options):
    import compare_torch  # only here is PyTorch needed
    return compare_torch.measure(options, programs.model(options.model), context_of(options))


def api(options):
    more = [word for name in ("log", "only") if getattr(options, name) for word in (f"--{name}", getattr(options, name))]
    run = programs.run("api", "--seconds", options.seconds, *more, programs.BUILD / "kronosq-api")
    return {**run, "machine": programs.machine(programs.model(options.weights), context=48)[0]}


def webhook(options):
    import webhook as hooks  # it wants the build's place before it is imported
    return {**hooks.measure(options), "machine": programs.machine(programs.model(options.weights), context=48)[0]}


def precision(options):
    folder = programs.model(options.model)
    run = programs.run("precision", "--max-context", context_of(options), folder / "model", folder / "tokenizer", folder.name)
    return {**run, "machine": programs.machine(folder, context=48)[0]}


def measure(options):
    """One run of a benchmark, with when, where and how quiet."""
    programs.build()
    commit, is_dirty = programs.commit()
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    watch = noise.Watch()
    run = {"engine": engine, "service": service, "queue": queue, "torch": torch, "api": api, "precision": precision,
           "webhook": webhook}[options.benchmark](options)
    head = {"format": saved.FORMAT, "benchmark": options.benchmark, "date": date, "commit": commit, "is_dirty": is_dirty}
    setup = {**({"model": options.model} if hasattr(options, "model") else {}), **run.get("setup", {})}
    return {**head, "machine": run["machine"], "noise": watch.stop(run["machine"]), "setup": setup,
            **{name: v for name, v in run.items() if name not in (*head, "machine", "setup", "rows")}, "rows": run["rows"]}


def old_run(path, run):
    """The run to compare with: the file, or the one of the same benchmark in a folder."""
    found = saved.read_all(path)
    for name, old in found.items():
        if len(found) == 1 and pathlib.Path(path).is_file() or old["benchmark"] == run["benchmark"]:
            return old
    sys.exit(f"bench: {path} has no run of {run['benchmark']}")


def main():
    options = arguments()
    try:
        if options.benchmark == "show":
            runs = {}
            for path in options.runs:
                runs.update(saved.read_all(path))
        else:
            run = measure(options)
            if options.json:
                saved.write(saved.add(run, options.json) if options.add else run, options.json)
            runs = {options.benchmark: run}
        for i, run in enumerate(runs.values()):
            print("\n" if i else "", end="")
            table.print_run(run, goals.of(run))
            if options.compare:
                table.print_comparison(run, old_run(options.compare, run))
        by_benchmark = {run["benchmark"]: run for run in runs.values()}
        if "queue" in by_benchmark:
            budget.print_budget(by_benchmark["queue"], by_benchmark.get("service"), by_benchmark.get("api"))
        if options.svg:
            import figures  # only here is matplotlib needed
            for path in figures.draw(runs, options.svg):
                print(f"drawn: {path}")
    except saved.BadRun as e:
        sys.exit(f"bench: {e}")


if __name__ == "__main__":
    main()
