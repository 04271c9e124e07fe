"""`chorale explain`."""

import click

from chorale_client.command.session import Session, subcommand

_LANGUAGES = ("en", "ru", "de", "fr", "es", "pt", "ar", "zh")


@subcommand("explain")
@click.argument("operation", metavar="operations/...")
@click.option("--language", type=click.Choice(_LANGUAGES), default="en", help="Of the sentences.")
@click.option("--engine", default="", help="`openai` lets a language model rephrase the facts.")
def command(session: Session, operation: str, language: str, engine: str) -> None:
    """Explain what was made: what went in, what was heard, and what to try next.

    \b
    chorale explain operations/5d0c6f0e-0000-4000-8000-000000000000 --language de
    """
    from chorale.generation.v1 import explain_pb2

    with session.chorale() as chorale:
        request = explain_pb2.ExplainRequest(operation=operation, language=language, engine=engine)
        answer = chorale.generation.Explain(request)
    if session.as_json:
        session.say(answer)
        return
    session.table(
        ("about", "what", "value", "in words"),
        [(fact.subject, fact.name, fact.value, fact.text) for fact in answer.facts],
    )
    if engine:
        click.echo(answer.text)
    session.table(
        ("try", "as", "because"),
        [(each.field, each.value, each.reason) for each in answer.advice],
    )
