"""An evaluator that passes everything on to another one, and logs which configs were measured: "begin CONFIG", "end CONFIG".
usage: watching_evaluator.py LOG PROGRAM ARGUMENT..."""
import json
import subprocess
import sys
import threading


def main():
    log = open(sys.argv[1], "a", buffering=1, encoding="utf-8")
    child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    config_of_request, config_of_handle, measuring = {}, {}, {}

    def answers():
        for line in child.stdout:
            reply = json.loads(line)
            number = reply.get("id")
            if number in config_of_request and "handle" in reply:
                config_of_handle[reply["handle"]] = config_of_request.pop(number)
            if number in measuring:
                log.write(f"end {measuring.pop(number)}\n")
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        sys.stdout.buffer.close()

    reader = threading.Thread(target=answers)
    reader.start()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["op"] == "compile":
            config_of_request[request["id"]] = json.dumps(request["config"], sort_keys=True)
        if request["op"] == "measure":
            measuring[request["id"]] = config_of_handle.get(request["handle"], "?")
            log.write(f"begin {measuring[request['id']]}\n")
        child.stdin.write(line)
        child.stdin.flush()
    child.stdin.close()
    reader.join()
    sys.exit(child.wait())


main()
