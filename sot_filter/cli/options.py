"""Arguments and options that several commands take."""

import click

pipeline = click.argument("pipeline", type=click.Path())
settings = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting, as in --set solve.epsilon=0.1."
)
profile = click.option("--profile", metavar="NAME", help="Take this one of the pipeline file's profiles as executor.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")
