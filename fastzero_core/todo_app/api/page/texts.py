"""The texts of the page, by language. English is complete; a test holds the others to the same keys."""

from collections.abc import Mapping

ENGLISH, PORTUGUESE = "en", "pt"

TEXTS: Mapping[str, Mapping[str, str]] = {
    ENGLISH: {
        "title": "Todos",
        "language": "English",
        "log_in": "Log in",
        "log_out": "Log out",
        "username": "Username or e-mail",
        "password": "Password",
        "new": "New todo",
        "add": "Add",
        "search": "Search",
        "edit": "Edit todo",
        "name": "Title",
        "description": "Description",
        "state": "State",
        "save": "Save",
        "cancel": "Cancel",
        "to_trash": "Move to the trash",
        "empty": "Nothing here",
        "more": "Only the first {count} are shown. Search to find the others.",
        "keyboard": "Keyboard",
        "keyboard_help": "Arrows: go from todo to todo. Shift+arrow: move it to the next column. Enter: edit. "
        "Delete: move it to the trash. N: new todo. /: search.",
        "moved": "Moved to {state}",
        "offline": "The server does not answer. The page tries again by itself.",
        "draft": "Draft",
        "todo": "To do",
        "doing": "Doing",
        "done": "Done",
        "trash": "Trash",
        "login_refused": "The username or the password is not correct.",
        "login_throttled": "Too many failed logins. Try again in {seconds} s.",
        "not_found": "That todo does not exist any more.",
        "busy": "The service is busy. Try again in a moment.",
        "foreign": "This request came from another page. Reload this page, then try again.",
        "failed": "That did not work. Try again.",
        "invalid_title": "The title must have 1 to {limit} characters.",
        "invalid_description": "The description may have up to {limit} characters.",
    },
    PORTUGUESE: {
        "title": "Tarefas",
        "language": "Português",
        "log_in": "Entrar",
        "log_out": "Sair",
        "username": "Nome de usuário ou e-mail",
        "password": "Senha",
        "new": "Nova tarefa",
        "add": "Adicionar",
        "search": "Buscar",
        "edit": "Editar tarefa",
        "name": "Título",
        "description": "Descrição",
        "state": "Estado",
        "save": "Salvar",
        "cancel": "Cancelar",
        "to_trash": "Mover para a lixeira",
        "empty": "Nada aqui",
        "more": "Só as primeiras {count} são mostradas. Busque para encontrar as outras.",
        "keyboard": "Teclado",
        "keyboard_help": "Setas: ir de tarefa em tarefa. Shift+seta: mover para a coluna ao lado. Enter: editar. "
        "Delete: mover para a lixeira. N: nova tarefa. /: buscar.",
        "moved": "Movida para {state}",
        "offline": "O servidor não responde. A página tenta de novo sozinha.",
        "draft": "Rascunho",
        "todo": "A fazer",
        "doing": "Fazendo",
        "done": "Feito",
        "trash": "Lixeira",
        "login_refused": "O nome de usuário ou a senha não está correto.",
        "login_throttled": "Muitas tentativas de entrar falharam. Tente de novo em {seconds} s.",
        "not_found": "Essa tarefa não existe mais.",
        "busy": "O serviço está ocupado. Tente de novo em instantes.",
        "foreign": "Este pedido veio de outra página. Recarregue esta página e tente de novo.",
        "failed": "Não deu certo. Tente de novo.",
        "invalid_title": "O título deve ter de 1 a {limit} caracteres.",
        "invalid_description": "A descrição pode ter até {limit} caracteres.",
    },
}


def language_of(chosen: str, accepted: str) -> str:
    """Return the language that a user chose, else the first of an Accept-Language header that there is, else English.

    Browsers list the languages in the order of preference, so the weights are not read.
    """
    named = (part.strip()[:2].lower() for part in (chosen, *accepted.split(",")))
    return next((name for name in named if name in TEXTS), ENGLISH)
