// Texts of the pages in English and Chinese.

const EN = {
  title: "Analyze a video",
  api: "The API",
  uiLanguage: "Language of this page",
  video: "Address of the video",
  videoHint: "At most {gb} GB and {minutes} minutes.",
  tasks: "Results",
  "task.analysis": "Captions",
  "task.speech": "Speech",
  "task.summary": "Summary",
  "task.titles": "Titles",
  "task.mind_map": "Mind map",
  styles: "Kinds of summary",
  stylesHint: "Titles and mind map use the first one. A prompt of your own writes one summary as prose.",
  "style.plot_detail": "Plot in detail",
  "style.summary": "Short summary",
  "style.tags": "Tags",
  "style.highlights": "Highlights",
  "style.multi_task": "Title, tags and highlights",
  more: "More settings",
  language: "Language of results",
  languageUsual: "as captions",
  interval: "Seconds per frame",
  usual: "default",
  titleCount: "Number of titles",
  clipSeconds: "Seconds per clip",
  vlm: "Vision model",
  llm: "Language model",
  extra: "Further material about the video",
  extraHint: "Names of people, a script, a product: the prompts receive it as {video_extra_info}.",
  captionPrompt: "Prompt for each clip",
  captionHint: "{asr} stands for the speech. Leave it empty for the service's prompt.",
  summaryPrompt: "Prompt for the summary",
  summaryHint: "Must contain {video_analysis_text} (the captions) and {video_asr_text} (the speech).",
  fill: "Insert the service's prompt",
  token: "Token of this service",
  tokenHint: "Kept in this tab only, until it is closed.",
  start: "Start",
  stop: "Stop",
  progress: "Progress",
  step: "Step",
  amount: "Progress",
  seconds: "Seconds",
  "step.video": "Video",
  waiting: "waiting",
  running: "running",
  writing: "being written",
  done: "done",
  failed: "failed",
  missing: "not made",
  clips: "{done} of {found} clips",
  clipsMore: "{done} of {found} clips found so far",
  clipsFailed: "{count} without caption",
  lines: "{count} lines",
  noLines: "no speech",
  tokens: "{count} tokens",
  totals: "{time} elapsed · spent: {input} tokens in, {output} tokens out",
  videoInfo: "{time}, {width} × {height}",
  starting: "Starting: the service checks the address.",
  "state.queue": "Waiting for the video.",
  "state.video": "The video is read.",
  "state.captions": "Captions: {amount}.",
  "state.made": "Made so far: {names}.",
  "state.done": "Finished.",
  "state.failed": "Finished, but not every result could be made.",
  "state.stopped": "Stopped. What is paid for is kept: the same request continues from there.",
  reconnecting: "The connection is lost; trying again.",
  disconnected: "The service does not answer. The analysis goes on there: reload this page to see it.",
  unreachable: "The service does not answer.",
  refused: "Refused ({code}): {message}",
  noTask: "Choose at least one kind of summary.",
  needsToken: "This service requires a token.",
  failure: "{kind}: {message}",
  copy: "Copy",
  copied: "Copied",
  notCopied: "The browser does not allow copying.",
  again: "Make again",
  againOf: "Make {name} again",
  picture: "SVG",
  save: "Download {name} as {form}",
  copyOf: "Copy {name}",
  expand: "Arrow keys move through the map; Enter folds and unfolds a branch.",
  noteOf: "Note: {note}",
};

const ZH = {
  title: "分析视频",
  api: "接口说明",
  uiLanguage: "页面语言",
  video: "视频地址",
  videoHint: "不超过 {gb} GB、{minutes} 分钟。",
  tasks: "生成内容",
  "task.analysis": "分镜描述",
  "task.speech": "语音字幕",
  "task.summary": "摘要",
  "task.titles": "标题",
  "task.mind_map": "思维导图",
  styles: "摘要类型",
  stylesHint: "标题和思维导图以第一种摘要为依据。使用自定义提示词时，只生成一段文字摘要。",
  "style.plot_detail": "详细剧情",
  "style.summary": "简短摘要",
  "style.tags": "标签",
  "style.highlights": "爆点",
  "style.multi_task": "标题、标签和爆点",
  more: "更多设置",
  language: "结果语言",
  languageUsual: "同分镜描述",
  interval: "抽帧间隔（秒）",
  usual: "默认",
  titleCount: "标题数量",
  clipSeconds: "片段长度（秒）",
  vlm: "视觉模型",
  llm: "语言模型",
  extra: "视频的补充信息",
  extraHint: "例如人物姓名、剧本、产品；提示词中以 {video_extra_info} 引用。",
  captionPrompt: "分镜提示词",
  captionHint: "{asr} 代表语音文字。留空则使用服务的提示词。",
  summaryPrompt: "摘要提示词",
  summaryHint: "必须包含 {video_analysis_text}（分镜描述）和 {video_asr_text}（语音文字）。",
  fill: "填入服务的提示词",
  token: "服务令牌",
  tokenHint: "仅保存在当前标签页，关闭后即清除。",
  start: "开始",
  stop: "停止",
  progress: "进度",
  step: "步骤",
  amount: "进度",
  seconds: "秒",
  "step.video": "视频",
  waiting: "等待中",
  running: "进行中",
  writing: "正在生成",
  done: "完成",
  failed: "失败",
  missing: "未生成",
  clips: "{done} / {found} 个片段",
  clipsMore: "{done} / {found} 个片段（仍在切分）",
  clipsFailed: "{count} 个没有描述",
  lines: "{count} 行",
  noLines: "没有语音",
  tokens: "{count} 个 token",
  totals: "用时 {time} · 消耗：输入 {input} token，输出 {output} token",
  videoInfo: "{time}，{width} × {height}",
  starting: "正在启动：服务在检查地址。",
  "state.queue": "正在等待视频。",
  "state.video": "正在读取视频。",
  "state.captions": "分镜描述：{amount}。",
  "state.made": "已生成：{names}。",
  "state.done": "已完成。",
  "state.failed": "已结束，但有结果未能生成。",
  "state.stopped": "已停止。已付费的内容会保留，再次提交相同请求即可继续。",
  reconnecting: "连接中断，正在重试。",
  disconnected: "服务没有响应。分析仍在服务端继续：刷新本页即可查看。",
  unreachable: "服务没有响应。",
  refused: "请求被拒绝（{code}）：{message}",
  noTask: "请至少选择一种摘要。",
  needsToken: "此服务需要令牌。",
  failure: "{kind}：{message}",
  copy: "复制",
  copied: "已复制",
  notCopied: "浏览器不允许复制。",
  again: "重新生成",
  againOf: "重新生成{name}",
  picture: "SVG",
  save: "下载{name}（{form}）",
  copyOf: "复制{name}",
  expand: "用方向键浏览导图，按回车键折叠或展开分支。",
  noteOf: "说明：{note}",
};

export const TEXTS = { en: EN, zh: ZH };
const TAGS = { en: "en", zh: "zh-CN" };
const KEY = "lvqa.language";

const preferred = () => {
  const known = (name) => (name ?? "").slice(0, 2).toLowerCase();
  return [localStorage.getItem(KEY), ...navigator.languages].map(known).find((name) => name in TEXTS) ?? "en";
};

let chosen = preferred();

export const language = () => chosen;

/** Switch the language; the choice is kept for later visits. */
export function choose(name) {
  chosen = name;
  localStorage.setItem(KEY, name);
  translatePage();
}

/** The text of a key, with its `{placeholders}` filled in. Braces that `values` does not name stay. */
export const t = (key, values = {}) =>
  TEXTS[chosen][key].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

export const number = (value, digits = 0) =>
  value.toLocaleString(TAGS[chosen], { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Set every text of the page: `data-text` names the content, `data-label` the accessible name. */
export function translatePage() {
  document.documentElement.lang = TAGS[chosen];
  document.title = t(document.querySelector("h1").dataset.text);
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) each.ariaLabel = t(each.dataset.label);
}
