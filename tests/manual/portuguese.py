"""Descriptions of settings and of keys of fastzero.toml in Brazilian Portuguese, by the English text of the code."""

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "text": "texto",
    "integer": "número inteiro",
    "number": "número",
    "path": "caminho",
    "list": "lista",
    "table": "tabela",
}

SETTINGS: Mapping[str, str] = {
    "name of the project": "nome do projeto",
    "database to use instead of the project's own": "banco de dados a usar no lugar do próprio do projeto",
    "Commands and the app then use that database": "Os comandos e a aplicação passam a usar esse banco de dados",
    "key for signing tokens, instead of the project's own": (
        "chave que assina os tokens, no lugar da própria do projeto"
    ),
    "Anyone who knows the key can create valid tokens": "Quem conhece a chave pode criar tokens válidos",
    "previous key, whose tokens are still accepted while SECRET_KEY is being changed": (
        "chave anterior, cujos tokens ainda são aceitos durante a troca de SECRET_KEY"
    ),
    "algorithm for signing tokens": "algoritmo que assina os tokens",
    "lifetime of an access token, in minutes": "validade de um token de acesso, em minutos",
    "how long tokens can be refreshed after a login, in hours": (
        "por quanto tempo depois de um login os tokens podem ser renovados, em horas"
    ),
    "default user for the todo commands": "usuário padrão dos comandos de tarefas",
    "runtime of a new project": "runtime de um projeto novo",
    "machine of the Docker Engine for a new project, ssh://USER@NAME; by default this one": (
        "máquina do Docker Engine de um projeto novo, ssh://USER@NAME; por padrão, esta"
    ),
    "port of the database on 127.0.0.1": "porta do banco de dados em 127.0.0.1",
    "run the app as well as the database": "rodar a aplicação além do banco de dados",
    "port of the app on 127.0.0.1": "porta da aplicação em 127.0.0.1",
    "number of processes that serve the app": "número de processos que atendem a aplicação",
    "number of tasks of the app in a swarm, until `fastzero scale` chooses another": (
        "número de tasks da aplicação em um swarm, até que `fastzero scale` escolha outro"
    ),
    "image of the edge proxy, for the swarm runtime": "imagem do proxy de borda, no runtime swarm",
    "Its code runs, and sees every request": "O código da imagem é executado e vê todas as requisições",
    "registry of the images that are built for a swarm, such as registry.example.com/team": (
        "registry das imagens construídas para um swarm, como registry.example.com/team"
    ),
    "The app's image is pushed there, and nodes run what is there": (
        "A imagem da aplicação é enviada para lá, e os nós rodam o que estiver lá"
    ),
    "domain of the app in a swarm: the edge proxy serves it with TLS on ports 80 and 443": (
        "domínio da aplicação em um swarm: o proxy de borda o atende com TLS nas portas 80 e 443"
    ),
    "The edge proxy asks for certificates of it, and answers for it": (
        "O proxy de borda pede certificados para ele e responde por ele"
    ),
    "URL of the ACME directory that certificates come from, if not from the proxy's own choice": (
        "URL do diretório ACME de onde vêm os certificados, se não for o que o proxy escolhe"
    ),
    "It says who may answer for the domain": "Define quem pode responder pelo domínio",
    "database connections per worker": "conexões com o banco de dados por worker",
    "who may create an account over HTTP": "quem pode criar uma conta por HTTP",
    "It decides who may create an account": "Define quem pode criar uma conta",
    "connect the app with a role that can only read and write rows": (
        "conectar a aplicação com uma role que só pode ler e escrever linhas"
    ),
    "Without it the app may change the schema": "Sem isso, a aplicação pode alterar o esquema",
    "serve /docs, /redoc and /openapi.json; by default off behind a proxy unless a token protects them": (
        "servir /docs, /redoc e /openapi.json; por padrão, desligado atrás de um proxy, a menos que um token os proteja"
    ),
    "serve /metrics; by default off behind a proxy unless a token protects it": (
        "servir /metrics; por padrão, desligado atrás de um proxy, a menos que um token o proteja"
    ),
    "SHA-256, in hex, of the token required for /metrics, /docs, /redoc and /openapi.json": (
        "SHA-256, em hexadecimal, do token exigido em /metrics, /docs, /redoc e /openapi.json"
    ),
    "Anyone who knows the token can read the metrics": "Quem conhece o token pode ler as métricas",
    "addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted": (
        "endereços ou redes dos proxies cujos X-Forwarded-For e X-Forwarded-Proto são confiáveis"
    ),
    "Clients there can forge their address": "Clientes dessas redes podem forjar o próprio endereço",
    "origins whose pages may call the app": "origens cujas páginas podem chamar a aplicação",
    "Pages from these origins may call the app": "Páginas dessas origens podem chamar a aplicação",
    "format of the app's log": "formato do log da aplicação",
    "passes of a password hash": "passadas do hash de uma senha",
    "memory of a password hash, in KiB": "memória do hash de uma senha, em KiB",
    "lanes of a password hash": "paralelismo do hash de uma senha",
    "image of the database, for the docker runtime": "imagem do banco de dados, no runtime docker",
    "Its code runs, and can read the database's data and secrets": (
        "O código da imagem é executado e pode ler os dados e as senhas do banco de dados"
    ),
    "base image of the app's image": "imagem base da imagem da aplicação",
    "Containers run there, with the project's secrets": "Contêineres rodam lá, com os segredos do projeto",
    "Its code runs, and can read the app's secrets": (
        "O código da imagem é executado e pode ler as senhas da aplicação"
    ),
    "memory limit of the database's container, in MiB; 0 for no limit": (
        "limite de memória do contêiner do banco de dados, em MiB; 0 é sem limite"
    ),
    "CPU limit of the database's container; 0 for no limit": (
        "limite de CPUs do contêiner do banco de dados; 0 é sem limite"
    ),
    "PostgreSQL settings of the project's database": "configurações do PostgreSQL do banco de dados do projeto",
    "PostgreSQL settings can run programs": "Configurações do PostgreSQL podem executar programas",
    "how long commands wait, in seconds": "quanto tempo os comandos esperam, em segundos",
    "output format": "formato da saída",
    "when to use colour": "quando usar cores",
    "never prompt": "nunca perguntar",
    "folder for the state and data of projects": "pasta do estado e dos dados dos projetos",
    "Data and secrets of projects are stored, read and deleted there": (
        "Dados e senhas dos projetos são guardados, lidos e apagados nela"
    ),
}

APPLICATION: Mapping[str, str] = {
    "The ASGI application that uvicorn serves, as module:object; a factory ends in ().": (
        "A aplicação ASGI que o uvicorn serve, como módulo:objeto; uma factory termina em ()."
    ),
    "The WSGI application that gunicorn serves, as module:object; a factory ends in ().": (
        "A aplicação WSGI que o gunicorn serve, como módulo:objeto; uma factory termina em ()."
    ),
    "The command of the web process, instead of asgi or wsgi.": "O comando do processo web, no lugar de asgi ou wsgi.",
    "The web process's port on 127.0.0.1.": "A porta do processo web em 127.0.0.1.",
    "The path that answers when the web process is ready; by default any answer will do.": (
        "O caminho que responde quando o processo web está pronto; por padrão, qualquer resposta serve."
    ),
    "Where commands run, below this folder.": "Onde os comandos rodam, dentro desta pasta.",
    "Further processes by name: a command, or a table.": "Outros processos, pelo nome: um comando ou uma tabela.",
    "The command that migrates; by default `alembic upgrade head` where Alembic is configured. false: none.": (
        "O comando que migra; por padrão, `alembic upgrade head` onde o Alembic está configurado. false: nenhum."
    ),
    "A command to run after migrations, such as one that fills in first data; `fastzero test` does not run it.": (
        "Um comando para depois das migrações, como um que insere os primeiros dados; `fastzero test` não o executa."
    ),
    "What `fastzero test` runs.": "O que `fastzero test` executa.",
    "Variables of every process; they may hold placeholders.": (
        "Variáveis de todos os processos; podem conter marcadores."
    ),
    "Files of variables that count where nothing else sets them.": (
        "Arquivos com variáveis que valem quando nada mais as define."
    ),
    "The interpreter: a version such as 3.12, an environment's folder, or a path.": (
        "O interpretador: uma versão, como 3.12, a pasta de um ambiente ou um caminho."
    ),
    "The command that installs dependencies; by default it follows from the lock file.": (
        "O comando que instala as dependências; por padrão, o do arquivo de lock."
    ),
    "Optional dependencies of the project to install.": "Dependências opcionais do projeto a instalar.",
    "Dependency groups to install.": "Grupos de dependências a instalar.",
    "The Dockerfile; false: fastzero makes one.": "O Dockerfile; false: o fastzero cria um.",
    "The stage of the Dockerfile to build.": "O estágio do Dockerfile a construir.",
    "The folder that the Dockerfile is built in.": "A pasta em que o Dockerfile é construído.",
    "Build arguments of the Dockerfile.": "Argumentos de build do Dockerfile.",
    "The image that fastzero's Dockerfile starts from, such as python:3.13-slim.": (
        "A imagem de que parte o Dockerfile do fastzero, como python:3.13-slim."
    ),
    "How the application's containers are confined.": "Como os contêineres da aplicação são restritos.",
    "What the application needs in its database.": "O que a aplicação precisa que exista no banco de dados.",
    "What `up --reload` watches, all files below; by default the sources in the directory.": (
        "O que `up --reload` observa, com todos os arquivos dentro; por padrão, os fontes do diretório."
    ),
    "The command that runs it.": "O comando que o executa.",
    "The port on 127.0.0.1 that it listens on; it gets it as PORT and {app_port}.": (
        "A porta em 127.0.0.1 em que ele escuta; ele a recebe como PORT e {app_port}."
    ),
    "The path that answers when it is ready; false: an open port is enough.": (
        "O caminho que responde quando ele está pronto; false: basta a porta aberta."
    ),
    "How many run at once; one that listens on a port only in a swarm.": (
        "Quantos rodam ao mesmo tempo; um que escuta em uma porta, só em um swarm."
    ),
    "When it is started again: on-failure, always or no.": "Quando ele é reiniciado: on-failure, always ou no.",
    "Seconds that it must keep running to be ready, where it has no port.": (
        "Segundos que ele precisa ficar rodando para estar pronto, quando não tem porta."
    ),
    "Seconds between SIGTERM and SIGKILL.": "Segundos entre SIGTERM e SIGKILL.",
    "Schemas to create before the first migration.": "Esquemas a criar antes da primeira migração.",
    "Extensions to create before the first migration.": "Extensões a criar antes da primeira migração.",
    "Whether the application's role is a superuser of its database server.": (
        "Se a role da aplicação é superusuária do servidor de banco de dados."
    ),
    "Whether the container's own files cannot be changed.": (
        "Se os arquivos do próprio contêiner são somente de leitura."
    ),
    "Paths inside that it may write to; lost with it.": (
        "Caminhos internos em que ele pode escrever; o conteúdo se perde com o contêiner."
    ),
    "The user inside, instead of the image's own.": "O usuário dentro dele, no lugar do da imagem.",
    "Linux capabilities to keep; none by default.": "Capabilities do Linux a manter; por padrão, nenhuma.",
    "The most memory that each process may use.": "O máximo de memória que cada processo pode usar.",
    "Its image.": "A imagem.",
    'The ports that it listens on inside, the main one first; "6380:6379" chooses the one on 127.0.0.1.': (
        'As portas em que ele escuta por dentro, a principal primeiro; "6380:6379" escolhe a de 127.0.0.1.'
    ),
    "The path of its data inside; without one its data is lost with its container.": (
        "O caminho dos dados dentro dele; sem um, os dados se perdem com o contêiner."
    ),
    "A command inside its container that succeeds when it is ready; by default its main port answers.": (
        "Um comando no contêiner que dá certo quando ele está pronto; por padrão, a porta principal responde."
    ),
    "Its command, instead of the image's own.": "O comando, no lugar do da imagem.",
    "The command that runs it without Docker, on {app_host} and {app_port}, with its data in the working directory.": (
        "O comando que o executa sem Docker, em {app_host} e {app_port}, com os dados no diretório de trabalho."
    ),
    "Its variables.": "As variáveis dele.",
    "How its container is confined.": "Como o contêiner dele é restrito.",
}
