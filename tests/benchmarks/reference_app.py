"""What the app is measured against: the same contract as tutorials write it, straightforwardly and in good style.

FastAPI with an AsyncSession for each request, ORM models with a `selectin` relationship, one query for the user whom
the token is of and one for the list; on the same tables. Run by `uvicorn tests.benchmarks.reference_app:app`.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from fastzero_core.todo_app.passwords import verify_password

SECRET_KEY = os.environ["SECRET_KEY"]
ALGORITHM = "HS256"
ACCESS_TOKEN_EXPIRE_MINUTES = 30

engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
app = FastAPI()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="auth/token")


class TodoState(StrEnum):
    draft = "draft"
    todo = "todo"
    doing = "doing"
    done = "done"
    trash = "trash"


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    password_hash: Mapped[str]
    todos: Mapped[list["Todo"]] = relationship(cascade="all, delete-orphan", lazy="selectin")


class Todo(Base):
    __tablename__ = "todos"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    title: Mapped[str]
    description: Mapped[str]
    state: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TodoSchema(BaseModel):
    title: str
    description: str = ""
    state: TodoState = Field(default=TodoState.todo)


class TodoPublic(TodoSchema):
    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime
    updated_at: datetime


class TodoList(BaseModel):
    todos: list[TodoPublic]


class FilterTodo(BaseModel):
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=1)
    title: str | None = Field(None, min_length=3, max_length=20)
    description: str | None = Field(None, min_length=3, max_length=20)
    state: TodoState | None = None


class Token(BaseModel):
    access_token: str
    token_type: str


async def get_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(session: Session, token: Annotated[str, Depends(oauth2_scheme)]) -> User:
    credentials_exception = HTTPException(
        status_code=HTTPStatus.UNAUTHORIZED,
        detail="Could not validate credentials",
        headers={"WWW-Authenticate": "Bearer"},
    )
    try:
        payload = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM])
    except jwt.PyJWTError:
        raise credentials_exception from None
    user = await session.scalar(select(User).where(User.email == payload.get("sub")))
    if not user:
        raise credentials_exception
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


@app.post("/auth/token")
async def login_for_access_token(form_data: Annotated[OAuth2PasswordRequestForm, Depends()], session: Session) -> Token:
    user = await session.scalar(select(User).where(User.email == form_data.username))
    if not user or not verify_password(form_data.password, user.password_hash):
        raise HTTPException(status_code=HTTPStatus.UNAUTHORIZED, detail="Incorrect email or password")
    expire = datetime.now(tz=UTC) + timedelta(minutes=ACCESS_TOKEN_EXPIRE_MINUTES)
    access_token = jwt.encode({"sub": user.email, "exp": expire}, SECRET_KEY, algorithm=ALGORITHM)
    return Token(access_token=access_token, token_type="bearer")


@app.post("/todos/", response_model=TodoPublic, status_code=HTTPStatus.CREATED)
async def create_todo(todo: TodoSchema, user: CurrentUser, session: Session) -> Any:
    db_todo = Todo(title=todo.title, description=todo.description, state=todo.state, user_id=user.id)
    session.add(db_todo)
    await session.commit()
    await session.refresh(db_todo)
    return db_todo


@app.get("/todos/", response_model=TodoList)
async def list_todos(session: Session, user: CurrentUser, todo_filter: Annotated[FilterTodo, Query()]) -> Any:
    query = select(Todo).where(Todo.user_id == user.id)
    if todo_filter.title:
        query = query.filter(Todo.title.contains(todo_filter.title))
    if todo_filter.description:
        query = query.filter(Todo.description.contains(todo_filter.description))
    if todo_filter.state:
        query = query.filter(Todo.state == todo_filter.state)
    todos = await session.scalars(query.offset(todo_filter.offset).limit(todo_filter.limit))
    return {"todos": todos.all()}
