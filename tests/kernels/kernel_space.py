"""Kernel specs read in Python: expressions, valid configs, macros and launch geometry (spec/kernel.md), for the scripts and tests that compile
or run the CUDA kernels without `hone`.  Reads specs that hone accepts; it is no second checker of them."""
import json
import os
import re

TOKEN = re.compile(r"""\s*(?:(\d+)|([A-Za-z_]\w*)|("[^"]*"|'[^']*')|(&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%<>!?:(),\[\]]))""")


def truncated(a, b):
    quotient = abs(a) // abs(b)
    return quotient if (a >= 0) == (b >= 0) else -quotient


NAMES = {
    "min": min, "max": max, "abs": abs,
    "ceil_div": lambda a, b: -(-a // b),
    "is_pow2": lambda a: int(a > 0 and a & (a - 1) == 0),
    "div": truncated,
    "mod": lambda a, b: a - truncated(a, b) * b,
}
LEVELS = [["||"], ["&&"], ["==", "!=", "<", "<=", ">", ">="], ["<<", ">>"], ["+", "-"], ["*", "/", "%"]]


class Parser:
    """Turns an expression into Python source."""

    def __init__(self, text):
        self.tokens, at = [], 0
        text = text.rstrip()
        while at < len(text):
            hit = TOKEN.match(text, at)
            if hit is None:
                raise ValueError(f"{text}: byte {at}")
            self.tokens.append(hit.group().strip())
            at = hit.end()
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted=None):
        token = self.peek()
        if wanted is not None and token != wanted:
            raise ValueError(f"{wanted} expected, not {token}")
        self.at += 1
        return token

    def ternary(self):
        condition = self.level(0)
        if self.peek() != "?":
            return condition
        self.take()
        then = self.ternary()
        self.take(":")
        return f"({then} if {condition} else {self.ternary()})"

    def level(self, depth):
        if depth == len(LEVELS):
            return self.unary()
        left = self.level(depth + 1)
        while self.peek() in LEVELS[depth]:
            operator, right = self.take(), self.level(depth + 1)
            if operator in ("/", "%"):
                left = f"{'div' if operator == '/' else 'mod'}({left}, {right})"
            elif operator in ("&&", "||"):
                left = f"int(bool({left}) {'and' if operator == '&&' else 'or'} bool({right}))"
            elif depth == 2:
                left = f"int({left} {operator} {right})"
            else:
                left = f"({left} {operator} {right})"
        return left

    def unary(self):
        token = self.take()
        if token == "!":
            return f"int(not {self.unary()})"
        if token in "+-" and token:
            return f"({token}{self.unary()})"
        if token == "(":
            inner = self.ternary()
            self.take(")")
            return inner
        if token in ("true", "false"):
            return "1" if token == "true" else "0"
        if self.peek() == "(" and token in NAMES:
            self.take()
            words = [self.ternary()]
            while self.peek() == ",":
                self.take()
                words.append(self.ternary())
            self.take(")")
            return f"{token}({', '.join(words)})"
        if self.peek() == "[":
            self.take()
            index = self.ternary()
            self.take("]")
            return f"{token}[{index}]"
        return token


def compiled(expression):
    parser = Parser(str(expression))
    source = parser.ternary()
    if parser.peek():
        raise ValueError(f"{expression}: {parser.peek()} is left over")
    return compile(source, str(expression), "eval")


class Spec:
    def __init__(self, path, **sizes):
        self.folder = os.path.dirname(os.path.abspath(path))
        with open(path, encoding="utf-8") as file:
            self.json = json.load(file)
        self.name = self.json["name"]
        self.sizes = {name: size["default"] if isinstance(size, dict) else size for name, size in self.json.get("sizes", {}).items()}
        self.sizes.update(sizes)
        self.params = {name: self.values(param) for name, param in self.json["params"].items()}
        self.default = {name: param.get("default", self.params[name][0]) for name, param in self.json["params"].items()}
        self.default.update(self.json.get("default", {}))
        self.constraints = [(c["expr"] if isinstance(c, dict) else c) for c in self.json.get("constraints", [])]
        self.code = [compiled(c) for c in self.constraints]

    @staticmethod
    def values(param):
        kind = param["kind"]
        if kind == "range":
            return list(range(param["min"], param["max"] + 1, param.get("step", 1)))
        if kind == "pow2":
            return [1 << n for n in range(64) if param["min"] <= 1 << n <= param["max"]]
        if kind == "bool":
            return [False, True]
        if kind == "enum":
            return list(param["values"])
        raise ValueError(f"parameters of kind {kind} are not read here")

    def config(self, sparse):
        return {**self.default, **sparse}

    def scope(self, config):
        return {**NAMES, **self.sizes, **{name: int(v) if isinstance(v, bool) else v for name, v in config.items()}}

    def evaluate(self, expression, config):
        return eval(compiled(expression), {"__builtins__": {"int": int, "bool": bool}}, self.scope(config))

    def broken(self, config):
        """The first constraint that does not hold, or None."""
        scope = self.scope(config)
        for text, code in zip(self.constraints, self.code):
            try:
                if not eval(code, {"__builtins__": {"int": int, "bool": bool}}, scope):
                    return text
            except (ZeroDivisionError, ValueError):
                return text
        return None

    def valid(self, config):
        return self.broken(config) is None

    def random(self, draw, tries=100000):
        for _ in range(tries):
            config = {name: draw.choice(values) for name, values in self.params.items()}
            if self.valid(config):
                return config
        raise ValueError(f"{self.name}: no valid config in {tries} tries")

    def neighbours(self, config):
        """The valid configs that differ in one parameter."""
        found = [{**config, name: value} for name, values in self.params.items() for value in values if value != config[name]]
        return [other for other in found if self.valid(other)]

    @staticmethod
    def text(value):
        return str(int(value)) if isinstance(value, bool) else str(value)

    def options(self, config, templates=None):
        templates = self.json.get("options", []) if templates is None else templates
        replace = lambda hit: self.text(self.evaluate(hit.group(1), config))
        return [re.sub(r"\$\{([^}]*)\}", replace, template) for template in templates]

    def macros(self, config):
        return [f"-D{name}={self.text(value)}" for name, value in config.items()]

    def launch(self, config, launch=None):
        launch = self.json["launch"] if launch is None else launch
        three = lambda name: tuple(([self.evaluate(e, config) for e in launch.get(name, [])] + [1, 1, 1])[:3])
        return three("grid"), three("block"), three("cluster") if "cluster" in launch else None, self.evaluate(launch.get("shared_bytes", 0), config)
