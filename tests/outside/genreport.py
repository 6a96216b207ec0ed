"""genreport, ISC's DNS compliance tester, against this server and its peers."""
import json
import subprocess
import tempfile
from pathlib import Path

from expected import GENREPORT
from servers import HOST, Fleet

ZONE = """$ORIGIN compliance.example.
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 86400 60
@ IN NS ns1
@ IN A 192.0.2.1
ns1 IN A 127.0.0.1
"""
# EDNS, full and common tests; then all types, which are few enough to be asked one after another.
GROUPS = [["-f", "-c"], ["-t"]]


def report(tester, server):
    """Test → result, `ok` and words behind a comma when it passed."""
    results = {}
    for group in GROUPS:
        # With zone, name and address given nothing is looked up; the resolver is one that does not answer, in case.
        done = subprocess.run([tester, *group, "-j", "-4", "-P", str(server.address[1]), "-r", HOST], timeout=120, check=True,
                              input=f"compliance.example. ns1.compliance.example. {HOST}\n", capture_output=True, text=True)
        for entry in json.loads(done.stdout)["data"]:
            results |= entry["tests"]
    return results


def run(program, tester):
    """Prints what came out; whether all that ours fails is explained."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "compliance.example.zone"
        file.write_text(ZONE)
        with Fleet(program, folder, {"compliance.example.": file}) as servers:
            results = {server.name: report(tester, server) for server in servers}
    print(f"genreport: {len(results['ours'])} tests of each server")
    fine = bool(results["ours"])
    for name, tests in results.items():
        failed = {test: result for test, result in tests.items() if result.split(",")[0] != "ok"}
        print(f"  {name}: {len(tests) - len(failed)} ok" + "".join(f", {test}={result}" for test, result in sorted(failed.items())))
        for test, result in failed.items() if name == "ours" else ():
            known = (test, result) in GENREPORT
            fine &= known
            print(f"    {'expected' if known else 'FAIL'}  {test}={result}" + (f": {GENREPORT[test, result]}" if known else ""))
    return fine
