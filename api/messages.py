"""The words of every code, Chinese first; `api.errors` fills and chooses them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

# code -> (HTTP status of a request that has no data, Chinese, English)
REQUEST_TEXTS: Final[dict[str, tuple[HTTPStatus, str, str]]] = {
    "INTERNAL_ERROR": (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "系统内部错误，请稍后重试。反馈时请提供请求编号 {request_id}。",
        "Internal error. Please try again later and quote request {request_id}.",
    ),
    "ENGINE_UNAVAILABLE": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "数据服务暂时不可用，请稍后重试（请求编号 {request_id}）。",
        "The data service is not available right now. Please try again later (request {request_id}).",
    ),
    "TIMEOUT": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "处理超过 {seconds} 秒，已停止。请减少查询内容后重试。",
        "Stopped after {seconds} seconds. Ask for less and try again.",
    ),
    "BAD_USER_INPUT": (HTTPStatus.BAD_REQUEST, "请求的参数不正确：{detail}", "Bad input: {detail}"),
    "GRAPHQL_VALIDATION_FAILED": (
        HTTPStatus.BAD_REQUEST,
        "查询语句与接口不符：{detail}",
        "Invalid document: {detail}",
    ),
    "GRAPHQL_PARSE_FAILED": (
        HTTPStatus.BAD_REQUEST,
        "查询语句有语法错误：{detail}",
        "Syntax error: {detail}",
    ),
    "OPERATION_NOT_FOUND": (
        HTTPStatus.BAD_REQUEST,
        "找不到要执行的操作；文档中有多个操作时请用 operationName 指明。",
        "No such operation; name one with operationName when the document holds several.",
    ),
    "TOO_MANY_OPERATIONS": (
        HTTPStatus.TOO_MANY_REQUESTS,
        "每个连接同时进行的操作不能超过 {limit} 个。",
        "A connection runs at most {limit} operations at a time.",
    ),
    "OPERATION_NOT_SUPPORTED": (
        HTTPStatus.BAD_REQUEST,
        "HTTP 接口不支持订阅操作。",
        "Subscriptions are not served over HTTP.",
    ),
    "INVALID_TOKEN": (
        HTTPStatus.UNAUTHORIZED,
        "登录凭证无效，请重新登录。",
        "The access token is not valid; sign in again.",
    ),
    "INVALID_JSON": (HTTPStatus.BAD_REQUEST, "请求体不是有效的 JSON。", "The body is not valid JSON."),
    "INVALID_PARAMETER": (
        HTTPStatus.BAD_REQUEST,
        "请求参数 {name} 的类型不正确，应为 {expected}。",
        "The parameter {name} must be {expected}.",
    ),
    "MISSING_QUERY": (
        HTTPStatus.BAD_REQUEST,
        "缺少 query 或 documentId 参数。",
        "The request has neither query nor documentId.",
    ),
    "BATCHING_NOT_SUPPORTED": (
        HTTPStatus.BAD_REQUEST,
        "不支持批量请求，每次请求只能包含一个操作。",
        "Batched requests are not supported; send one operation per request.",
    ),
    "BODY_TOO_LARGE": (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "请求体超过 {limit} 字节。",
        "The body is larger than {limit} bytes.",
    ),
    "BODY_TIMEOUT": (
        HTTPStatus.REQUEST_TIMEOUT,
        "请求体未在规定时间内发送完毕。",
        "The body did not arrive in time.",
    ),
    "METHOD_NOT_ALLOWED": (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "不支持该请求方法，请使用 {allow}。",
        "Method not allowed; use {allow}.",
    ),
    "MUTATION_OVER_GET": (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "GET 只能执行查询，变更请使用 POST。",
        "GET runs queries only; send mutations by POST.",
    ),
    "NOT_ACCEPTABLE": (
        HTTPStatus.NOT_ACCEPTABLE,
        "只能以 application/graphql-response+json 或 application/json 返回。",
        "Served as application/graphql-response+json or application/json only.",
    ),
    "UNSUPPORTED_MEDIA_TYPE": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "请求体必须是 UTF-8 编码、未压缩的 application/json。",
        "The body must be uncompressed application/json in UTF-8.",
    ),
    "DOCUMENT_TOO_LARGE": (
        HTTPStatus.BAD_REQUEST,
        "查询语句过长：最多 {limit_tokens} 个词、{limit_chars} 个字符。",
        "The document is too long: at most {limit_tokens} tokens and {limit_chars} characters.",
    ),
    "QUERY_TOO_DEEP": (
        HTTPStatus.BAD_REQUEST,
        "查询嵌套过深，最多 {limit} 层。",
        "The query is nested too deeply: at most {limit} levels.",
    ),
    "TOO_MANY_ALIASES": (
        HTTPStatus.BAD_REQUEST,
        "别名过多，最多 {limit} 个。",
        "Too many aliases: at most {limit}.",
    ),
    "TOO_MANY_REPEATED_FIELDS": (
        HTTPStatus.BAD_REQUEST,
        "同一字段重复出现的次数过多。",
        "The same fields are repeated too often.",
    ),
    "FRAGMENT_CYCLE": (
        HTTPStatus.BAD_REQUEST,
        "片段 {name} 循环引用了自身。",
        "The fragment {name} includes itself.",
    ),
    "QUERY_TOO_COSTLY": (
        HTTPStatus.BAD_REQUEST,
        "查询过于复杂：成本 {cost}，上限 {limit}。请减少字段或每页条数。",
        "The query costs {cost}, more than {limit}. Ask for fewer fields or smaller pages.",
    ),
    "LIST_TOO_LONG": (
        HTTPStatus.BAD_REQUEST,
        "{name} 过大，最多 {limit} 个。",
        "{name} is too large: at most {limit}.",
    ),
    "VARIABLES_TOO_DEEP": (
        HTTPStatus.BAD_REQUEST,
        "变量嵌套过深，最多 {limit} 层。",
        "The variables are nested too deeply: at most {limit} levels.",
    ),
    "INTROSPECTION_DISABLED": (
        HTTPStatus.BAD_REQUEST,
        "本环境不开放接口结构查询。",
        "Introspection is turned off here.",
    ),
    "PERSISTED_QUERY_NOT_FOUND": (
        HTTPStatus.BAD_REQUEST,
        "PersistedQueryNotFound",  # Apollo clients compare this text, whatever the language
        "PersistedQueryNotFound",
    ),
    "PERSISTED_QUERY_HASH_MISMATCH": (
        HTTPStatus.BAD_REQUEST,
        "查询语句与其 SHA-256 标识不符。",
        "The document does not match its SHA-256 identifier.",
    ),
    "DOCUMENT_NOT_FOUND": (
        HTTPStatus.BAD_REQUEST,
        "没有这个编号的文档。",
        "No document has this identifier.",
    ),
    "DOCUMENT_NOT_TRUSTED": (
        HTTPStatus.FORBIDDEN,
        "只接受已登记的操作。",
        "Only registered operations are accepted.",
    ),
    "MALFORMED_UPLOAD": (
        HTTPStatus.BAD_REQUEST,
        "上传请求格式不正确，应为含一个文件的 multipart/form-data 表单，或文件内容本身。",
        "The upload is malformed: send a multipart/form-data form with one file, or the file's bytes alone.",
    ),
    "MEDIA_MISSING": (
        HTTPStatus.BAD_REQUEST,
        "上传请求中没有文件。",
        "The upload has no file.",
    ),
    "TOO_MANY_FILES": (
        HTTPStatus.BAD_REQUEST,
        "每次只能上传一个文件。",
        "One file at a time.",
    ),
    "UPLOAD_TOO_SLOW": (
        HTTPStatus.REQUEST_TIMEOUT,
        "网络过慢，上传已中断，请在网络良好时重试。",
        "The upload came too slowly and was broken off; try again over a better connection.",
    ),
    "LENGTH_REQUIRED": (
        HTTPStatus.LENGTH_REQUIRED,
        "直接上传文件内容时须提供 Content-Length。",
        "A file's bytes alone need a Content-Length.",
    ),
    "LENGTH_MISMATCH": (
        HTTPStatus.BAD_REQUEST,
        "上传内容的长度与 Content-Length 不符。",
        "The body is not as long as its Content-Length says.",
    ),
    "NOT_READY": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "服务正在启动，请稍后重试。",
        "The service is starting. Please try again in a moment.",
    ),
}

# code of a DomainError -> (Chinese, English); words for errors raised beside their rules
DOMAIN_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "DOMAIN_ERROR": ("请求被拒绝。", "The request was refused."),
    "MEDIA_TOO_LARGE": ("文件超过限制（{limit}）。", "The file is beyond the limit of {limit}."),
    "MEDIA_TYPE": (
        "不支持此类文件。可上传图片（JPEG、PNG、WebP、HEIC、GIF）、"
        "录音（MP3、M4A、AAC、AMR、WAV、OGG）和视频（MP4、MOV）。",
        "Not a type that is taken: JPEG, PNG, WebP, HEIC, GIF; MP3, M4A, AAC, AMR, WAV, OGG; MP4, MOV.",
    ),
    "MEDIA_DAMAGED": (
        "文件不完整或已损坏，无法读取。",
        "The file is incomplete or damaged and cannot be read.",
    ),
    "MEDIA_NOT_FOUND": (
        "找不到该附件，可能已过期，请重新上传。",
        "There is no such upload; it may have expired.",
    ),
    "MEDIA_LINK": (
        "链接无效或已过期，请刷新后重试。",
        "The link is wrong or has expired; ask for a new one.",
    ),
    "MEDIA_BUSY": ("上传繁忙，请在 {seconds} 秒后重试。", "Too many uploads; try again in {seconds} s."),
    "TOO_MANY_MEDIA": ("附件最多 {limit} 个。", "At most {limit} attachments are possible."),
    "INVALID_UPLOAD_TOKEN": ("上传凭证无效。", "The upload token is not valid."),
    "INVALID_TOPIC": ("订阅主题无效。", "This is not a topic, or these are too many."),
    "INVALID_AUDIENCE": (
        "消息须发给一个账号或若干订阅主题。",
        "A message is for one account or for topics.",
    ),
    "INVALID_MESSAGE": ("消息的 {field} 无效。", "The message's {field} is out of bounds."),
    "MESSAGE_NOT_FOUND": ("找不到这条消息。", "There is no such message."),
    "STEP_NOT_ALLOWED": (
        "消息当前状态（{state}）不允许此操作。",
        "This cannot be done to a message that is {state}.",
    ),
    "SECOND_PERSON_NEEDED": (
        "须由撰写人以外的人员批准。",
        "Somebody other than its author must approve it.",
    ),
    "TOO_MANY_SUBSCRIPTIONS": ("最多可订阅 {limit} 个主题。", "At most {limit} subscriptions are possible."),
    "INVALID_DEVICE": ("设备信息无效（{field}）。", "This is not a device that can be registered ({field})."),
    "UNKNOWN_DEVICE": ("您的账号下没有这台设备。", "Your account has no such device."),
    "UNKNOWN_TEMPLATE": ("没有这个微信消息模板。", "There is no such WeChat template here."),
    "UNKNOWN_TOPIC": ("没有这个可订阅的主题。", "There is nothing of this id to subscribe to."),
    "TOPIC_OUT_OF_SCOPE": (
        "只能向本区划范围内的区划或事项订阅者发布。",
        "Only subscribers of divisions and items within your division can be told.",
    ),
    "TOO_MANY_MESSAGES": ("一次可操作 1 至 {maximum} 条消息。", "1 to {maximum} messages at once."),
    "INVALID_SELECTION": ("请正确指定要操作的内容（{field}）。", "Say what is meant, in one way ({field})."),
    "PREFERENCES_CONFLICT": (
        "通知设置已在别处修改（当前版本 {current}），请刷新后重试。",
        "The preferences were changed meanwhile and are at version {current}: read them and try again.",
    ),
    "INVALID_QUIET_HOURS": (
        "免打扰时段无效，应为两个不同的时刻（HH:MM）。",
        "Quiet hours are two different times of the day, HH:MM.",
    ),
    "DIGEST_NOT_POSSIBLE": (
        "该类消息有时效，不能汇总发送。",
        "Messages of this kind cannot wait for a digest.",
    ),
    "INVALID_DIVISION_CODE": ("行政区划代码 {code} 无效。", "{code} is not a valid division code."),
    "INVALID_ID": ("编号 {id} 无效。", "{id} is not a valid id."),
    "UNAUTHENTICATED": ("请先登录。", "Sign in first."),
    "FORBIDDEN": ("您无权执行此操作。", "You are not allowed to do this."),
    "ASSURANCE_TOO_LOW": (
        "此操作需要 {required} 级身份认证，您当前为 {current} 级；请先完成 {reach_by}。",
        "This needs assurance {required}, yours is {current}; reach it with {reach_by}.",
    ),
    "INVALID_CODE": (
        "验证码错误或已失效，请重新输入或重新获取。",
        "The code is wrong or no longer good: check it, or ask for a new one.",
    ),
    "TOO_MANY_REQUESTS": (
        "操作过于频繁，请在 {seconds} 秒后重试。",
        "Too many requests; try again in {seconds} s.",
    ),
    "SIGN_IN_LOCKED": (
        "验证码多次输入错误，登录已锁定至 {until}，请在 {seconds} 秒后重试。",
        "Too many wrong codes: locked until {until} (Beijing time), for {seconds} s.",
    ),
    "CODE_NOT_SENT": (
        "验证码发送失败，请稍后重试。",
        "The code could not be sent. Please try again later.",
    ),
    "SESSION_ENDED": ("登录已失效，请重新登录。", "The session has ended; sign in again."),
    "UNKNOWN_SESSION": ("没有这个登录会话，或已退出。", "There is no such open session."),
    "UNKNOWN_ACCOUNT": ("账号不存在。", "There is no such account."),
    "ACCOUNT_CLOSED": ("账号正在注销，无法使用。", "The account is being deleted."),
    "IDENTITY_MISMATCH": ("姓名与身份证号码不一致。", "Name and resident id number do not belong together."),
    "IDENTITY_TAKEN": (
        "该身份已在其他账号完成实名认证。",
        "This person has verified another account.",
    ),
    "IDENTITY_ALREADY_VERIFIED": ("该账号已完成实名认证。", "The account is verified already."),
    "IDENTITY_SERVICE_UNAVAILABLE": (
        "实名认证服务暂时不可用，请稍后重试。",
        "Identities cannot be verified right now. Please try again later.",
    ),
    "WECHAT_SIGN_IN_FAILED": (
        "微信登录失败，请重试或使用手机号登录。",
        "WeChat sign-in failed; try again, or sign in by phone.",
    ),
    "WECHAT_NOT_LINKED": (
        "该微信尚未绑定账号，请先用手机号登录后绑定。",
        "No account is linked to this WeChat user: sign in by phone once and link it.",
    ),
    "WECHAT_TAKEN": ("该微信已绑定其他账号。", "This WeChat user is linked to another account."),
    "INVALID_PHONE": ("请输入 11 位大陆手机号。", "Enter a mobile number of the mainland, 11 digits."),
    "INVALID_RESIDENT_ID": ("身份证号码不正确，请核对。", "The resident id number is wrong; check it."),
    "INVALID_COMPANY_CODE": (
        "统一社会信用代码不正确，请核对。",
        "The unified social credit code is wrong; check it.",
    ),
    "INVALID_NAME": (
        "姓名应为 2 至 {maximum} 个汉字或字母。",
        "A name has 2 to {maximum} characters, Chinese or Latin.",
    ),
    "INVALID_GRANT": ("角色与范围不匹配（{reason}）。", "Roles and scope do not fit: {reason}."),
    "MAY_NOT_APPOINT": (
        "只有企业的法定代表人（由运营人员登记）可以委任或解除代理人。",
        "Only a principal of the company, whom an operator has named, appoints and dismisses agents.",
    ),
    "TOO_MANY_AGENTS": (
        "一家企业最多有 {maximum} 名代理人。",
        "A company has {maximum} agents at most.",
    ),
    "AGENT_NOT_AVAILABLE": (
        "目前无法委任此人，请与其本人联系。",
        "This person cannot be appointed at present; ask them.",
    ),
    "UNKNOWN_AGENT": ("没有委任过这位代理人，或已解除。", "There is no such appointed agent."),
    "AGENCY_NOT_FOUND": (
        "该企业没有委任您，或委任已结束。",
        "This company has not appointed you, or the appointment has ended.",
    ),
    "AGENT_ELSEWHERE": (
        "您正在代理另一家企业，请先结束后再接受。",
        "You act for another company: end that first.",
    ),
    "INVALID_TEXT": (
        "{field} 应为 1 至 {maximum} 个字。",
        "{field} must have 1 to {maximum} characters.",
    ),
    "CATALOGUE_UNAVAILABLE": (
        "事项库正在加载，请稍后重试。",
        "The catalogue is loading. Please try again in a moment.",
    ),
    "INVALID_CURSOR": (
        "分页游标无效（{reason}），请从第一页重新查询。",
        "This cursor cannot be used here ({reason}); start again from the first page.",
    ),
    "INVALID_PAGE_SIZE": (
        "每页条数 {first} 无效，应为 1 至 {maximum}。",
        "A page has 1 to {maximum} entries, not {first}.",
    ),
    "TEXT_TOO_LONG": ("搜索内容过长，最多 {maximum} 个字。", "The text is longer than {maximum} characters."),
    "TOO_MANY_IDS": (
        "一次最多查询 {maximum} 个编号，收到 {count} 个。",
        "At most {maximum} ids at once, not {count}.",
    ),
    "UNKNOWN_CATEGORY": ("没有代码为 {code} 的分类。", "There is no category {code}."),
    "UNKNOWN_CITY_CLASS": (
        "没有代码为 {code} 的部件或事件类别。",
        "There is no component or event class {code}.",
    ),
    "INVALID_GRID_CODE": (
        "网格编码 {code} 有误，应为 6、9、12 或 15 位数字。",
        "{code} is no cell of the grid: 6, 9, 12 or 15 digits.",
    ),
    "CITY_CASE_NOT_FOUND": ("没有找到该案件。", "There is no such case."),
    "CITY_CASE_CHANGED": (
        "案件刚被他人处理（状态 {state}，第 {version} 版），请刷新后重试。",
        "Somebody else has just taken a step (now {state}, version {version}): look at it again.",
    ),
    "CITY_STEP_NOT_ALLOWED": (
        "状态为 {state} 的案件，您不能执行 {action}。",
        "{action} is not possible for you with a case that is {state}.",
    ),
    "INVALID_CITY_CASE": ("{field} 有误，请核对。", "{field} is missing, too long or wrong."),
    "GUIDE_NOT_FOUND": ("没有找到这条知识。", "There is no such guide."),
    "GUIDE_CHANGED": (
        "这条知识刚被他人修改（现为第 {version} 版），请刷新后重试。",
        "Somebody else has just changed this guide (version {version} now): look at it again.",
    ),
    "GUIDE_STEP_NOT_ALLOWED": (
        "状态为 {state} 的知识不能执行 {action}。",
        "{action} is not possible with a guide that is {state}.",
    ),
    "INVALID_GUIDE": (
        "知识内容的 {field} 有误，请核对。",
        "The guide's {field} is missing, too long or unknown.",
    ),
    "GUIDE_OUT_OF_SCOPE": (
        "只能编写本辖区的知识；全省通用的知识由省级维护。",
        "Guides are written for one's own division; those for everywhere by the province.",
    ),
    "GUIDE_KEY_REUSED": (
        "该幂等键已用于另一条知识。",
        "This idempotency key was used for another guide.",
    ),
    "INVALID_BOUNDS": (
        "地图范围无效：西南角必须在东北角的西南方向。",
        "The bounds of the map are not in order: south-west comes before north-east.",
    ),
    "INVALID_CLASS_CODE": (
        "{code} 不是诉求分类编号（2位或4位数字）。",
        "{code} is not the code of a class of complaints (two or four digits).",
    ),
    "INVALID_STATISTICS": (
        "统计条件无效：{field}。",
        "These figures cannot be asked for: {field}.",
    ),
    "UNKNOWN_UNIT": ("没有编号为 {id} 的单位。", "There is no unit {id}."),
    "REFERENCE_UNAVAILABLE": (
        "单位与分类数据正在加载，请稍后重试。",
        "Units and classes are loading. Please try again in a moment.",
    ),
    "UNKNOWN_COMPLAINT_CLASS": ("没有代码为 {code} 的诉求分类。", "There is no class {code} of complaints."),
    "UNKNOWN_DIVISION": ("事项库中没有行政区划 {code}。", "The catalogue knows no division {code}."),
    "INVALID_COMPLAINT": ("{field} 未填写、过长或有误，请核对。", "{field} is missing, too long or wrong."),
    "COMPLAINT_NOT_FOUND": (
        "没有找到该诉求，请核对编号与查询码。",
        "There is no such complaint; check its number and query code.",
    ),
    "COMPLAINT_STEP_NOT_ALLOWED": (
        "诉求当前状态（{state}）不允许此操作。",
        "This cannot be done to a complaint that is {state}.",
    ),
    "COMPLAINT_CHANGED": (
        "诉求刚有新的进展（状态 {state}，第 {version} 版），请刷新后重试。",
        "The complaint has just changed (now {state}, version {version}): look at it again.",
    ),
    "REOPEN_TOO_LATE": (
        "评价和重新办理须在收到答复后 {days} 天内提出。",
        "An answer can be rated and reopened within {days} days.",
    ),
    "COMPLAINT_CLAIMED": (
        "同事正在处理该诉求，请在 {seconds} 秒后重试。",
        "A colleague works on this complaint; try again in {seconds} s.",
    ),
    "TOO_MANY_CLAIMS": (
        "同时认领的诉求不能超过 {limit} 件。",
        "At most {limit} complaints can be claimed at a time.",
    ),
    "OWN_COMPLAINT": (
        "不能办理本人提交的诉求，请由同事办理。",
        "This complaint is your own; a colleague has to handle it.",
    ),
    "NO_ACCOUNT_BEHIND": (
        "该诉求没有对应的账号（代为登记，或账号已注销）。",
        "There is no account behind this complaint: it was taken down, or the account is deleted.",
    ),
    "COMPLAINT_NOT_ANONYMOUS": (
        "该诉求不是匿名诉求，无需追溯。",
        "This complaint is not anonymous; there is nothing to trace.",
    ),
    "TOO_MANY_COMPLAINT_STEPS": ("该操作最多 {most} 次。", "This can be done {most} times at most."),
    "TRANSFER_TOO_FAR": (
        "只能转交下级或同级单位，其他单位请退回中心转派。",
        "Pass it on to a unit below or beside yours; others are reached through the centre.",
    ),
    "EXTENSION_TOO_LATE": (
        "须在办理时限届满前申请延期。",
        "An extension must be asked for before the complaint is due.",
    ),
    "IDEMPOTENCY_KEY_REUSED": (
        "该提交编号已用于另一项诉求，请重新生成。",
        "This idempotency key was used for something else: make a new one.",
    ),
    "DRAFT_NOT_FOUND": ("没有找到该草稿，或已过期。", "There is no such draft, or its time is over."),
    "DRAFT_CHANGED": (
        "草稿已在别处修改（当前版本 {current}），请刷新后重试。",
        "The draft was saved elsewhere and is at version {current}: read it and try again.",
    ),
    "TOO_MANY_DRAFTS": ("最多保存 {limit} 份草稿。", "At most {limit} drafts are kept."),
    "CANNOT_JOIN_COMPLAINT": (
        "无法关注该诉求，请重新预检后再试。",
        "This complaint cannot be joined; ask for a new preview.",
    ),
    "INVALID_OPEN311_PARAMETER": (
        "参数 {name} 缺失或有误，应为：{expected}",
        "The parameter {name} is missing or wrong. Expected: {expected}.",
    ),
    "UNKNOWN_SERVICE_REQUEST": (
        "没有编号为 {id} 的诉求，或未公开。",
        "There is no service request {id}, or it is not public.",
    ),
    "UNKNOWN_SERVICE": ("没有代码为 {code} 的服务。", "There is no service {code}."),
    "UNKNOWN_OPEN311_ENDPOINT": ("没有此接口地址。", "There is nothing at this address."),
    "UNKNOWN_JURISDICTION": (
        "jurisdiction_id 应为本平台服务的行政区划代码，且在该密钥的范围内：{id}",
        "No division served here, or with this key, has the jurisdiction_id {id}.",
    ),
    "JURISDICTION_NEEDED": (
        "请以 jurisdiction_id 注明行政区划代码，或在 address_string 中写明市、县（区）。",
        "Give the division's code as jurisdiction_id, or an address_string that begins with city and county.",
    ),
    "INVALID_API_KEY": (
        "api_key 缺失、无效或无此权限。",
        "The api_key is missing, not valid, or not good for this.",
    ),
    "TOO_MANY_JOINED": ("最多可关注 {limit} 项诉求。", "At most {limit} complaints can be joined."),
    # What operators meet on the command line
    "CATALOGUE_SHRUNK": (
        "全量数据比现有 {items} 项少了 {missing} 项，超过一成，未撤销任何事项；确认无误后请加 --force。",
        "The full load lacks {missing} of {items} items, over a tenth: none was withdrawn. Force it if true.",
    ),
    "CALENDAR_NOT_PUBLISHED": (
        "尚无 {year} 年的放假安排。国务院公布后，请将该年的文件放入 MINTONG_HOLIDAYS 目录并重启。",
        "The working days of {year} are not known. Once the State Council has published them, put the year's "
        "file into the folder MINTONG_HOLIDAYS and restart.",
    ),
    "INVALID_HOLIDAYS": ("放假安排文件有误：{reason}", "A file of holidays is wrong: {reason}"),
    "INVALID_LIMIT_RULES": ("办理时限规则有误：{reason}", "The rules for limits are wrong: {reason}"),
    "IMPORT_RUNNING": (
        "{feed} 正在导入，请在 {seconds} 秒后重试。",
        "An import of {feed} is running; try again in {seconds} s.",
    ),
    "UNITS_SHRUNK": (
        "文件比现有 {units} 个单位少了 {missing} 个，超过一成，未作任何改动；确认无误后请加 --force。",
        "The table lacks {missing} of {units} units, over a tenth: nothing was changed. Force it if true.",
    ),
    "LIST_CHANGED": (
        "{list} 刚被他人更新，请重新导入。",
        "Somebody else has just replaced {list}: try again.",
    ),
    "INVALID_TABLE": (
        "第 {line} 行 {column} 列有误：{reason}",
        "Line {line}, column {column}: {reason}.",
    ),
    "INVALID_MAPPING": ("映射文件 {mapping} 有误：{reason}", "The mapping {mapping} is wrong: {reason}"),
    "PUBLICATION_RUNNING": ("另一个进程正在发布事项库。", "Another process is publishing the catalogue."),
    "SNAPSHOT_MISSING": (
        "数据库中没有第 {version} 版快照。",
        "The store holds no snapshot of version {version}.",
    ),
    "SNAPSHOT_UNREADABLE": (
        "快照不完整或已损坏（{reason}）。",
        "The snapshot is incomplete or damaged ({reason}).",
    ),
    "SOURCE_UNAVAILABLE": ("无法读取 {source}：{reason}", "Cannot read {source}: {reason}"),
    "TOO_MANY_WITHDRAWN": (
        "自上次发布以来撤销的事项超过 {limit} 项，请先发布。",
        "More than {limit} items were withdrawn since the last publication: publish first.",
    ),
    "UNKNOWN_ITEMS": ("这 {count} 个编号都不是事项。", "None of the {count} ids names an item."),
    "UNREADABLE_FILE": ("无法导入 {file}：{reason}", "Cannot import {file}: {reason}"),
    "VERSION_CONFLICT": (
        "第 {version} 版未发布：已有第 {published} 版。",
        "Version {version} was not published: {published} is already there.",
    ),
}
