/* SPDX-License-Identifier: MIT */
/*
 * How the page looks. All colours are variables, for light pages and for dark ones; text has at least
 * a contrast of 4.5 to what is behind it, which a test measures. Nothing is fetched: fonts are those
 * of the system.
 */
#include "report/page.h"

/* Colours of light pages, and of dark ones. */
static const char light[] = "color-scheme:light dark;--page:#f6f8fa;--card:#ffffff;--text:#1f2328;"
			    "--soft:#59636e;--line:#d1d9e0;--link:#0860ca;--code:#eff2f5;"
			    "--good:#116329;--good-behind:#dafbe1;--fair:#7d4e00;"
			    "--fair-behind:#fff8c5;--bad:#b3121f;--bad-behind:#ffebe9;"
			    "--note:#0550ae;--note-behind:#ddf4ff;--shade:0 1px 3px #1f232814";
static const char dark[] = "--page:#05080d;--card:#0d1117;--text:#e6edf3;--soft:#9aa3ad;"
			   "--line:#30363d;--link:#6cb0ff;--code:#1b222c;--good:#56d364;"
			   "--good-behind:#0f2a18;--fair:#e3b341;--fair-behind:#2b2208;"
			   "--bad:#ff8077;--bad-behind:#35110f;--note:#79c0ff;"
			   "--note-behind:#0c2742;--shade:none";

static const char page[] =
	"*{box-sizing:border-box}\n"
	"html{scroll-behavior:smooth;scroll-padding-top:1rem;-webkit-text-size-adjust:100%}\n"
	"body{margin:0;background:var(--page);color:var(--text);line-height:1.55;"
	"font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
	"overflow-wrap:anywhere}\n"
	".skip{position:absolute;left:-100rem;background:var(--card);color:var(--link);"
	"padding:.5rem 1rem;z-index:1}\n"
	".skip:focus{left:1rem;top:1rem}\n"
	"a{color:var(--link)}\n"
	":focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}\n"
	"main:focus{outline:none}\n"
	".wide{max-width:70rem;margin:0 auto;padding:0 1.25rem}\n"
	"header{background:var(--card);border-bottom:1px solid var(--line);padding:2rem 0 0}\n"
	".eyebrow{margin:0;color:var(--soft);font-size:.8125rem;font-weight:600;"
	"letter-spacing:.06em;text-transform:uppercase}\n"
	"h1{margin:.25rem 0;font-size:clamp(1.5rem,4vw,2.25rem);line-height:1.2;"
	"letter-spacing:-.015em}\n"
	".lead{margin:0;color:var(--soft);font-size:1.0625rem}\n"
	"nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;list-style:none;margin:1.25rem 0 0;"
	"padding:0}\n"
	"nav a{display:inline-block;padding:.5rem 0 .75rem;text-decoration:none;font-weight:500;"
	"border-bottom:3px solid transparent}\n"
	"nav a:hover{border-color:var(--link)}\n"
	"section{background:var(--card);border:1px solid var(--line);border-radius:12px;"
	"box-shadow:var(--shade);margin:1.5rem 0;padding:1.5rem}\n"
	"h2{margin:0 0 1rem;font-size:1.375rem;line-height:1.3;letter-spacing:-.01em}\n"
	"ul{padding-left:1.25rem;margin:.5rem 0 1rem}\n"
	"nav ul{padding:0}\n"
	"h3{margin:1.75rem 0 .5rem;font-size:1.0625rem;line-height:1.4}\n"
	"p{margin:.5rem 0 1rem;max-width:56rem}\n"
	"section>:last-child,section>:last-child>:last-child,p:last-child{margin-bottom:0}\n"
	"footer{color:var(--soft);font-size:.875rem;padding:.5rem 0 2.5rem}\n";

static const char parts[] =
	"code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',"
	"monospace;font-size:.8125rem;font-variant-ligatures:none}\n"
	".command{background:var(--code);border-radius:6px;padding:.15em .45em;user-select:all;"
	"-webkit-box-decoration-break:clone;box-decoration-break:clone}\n"
	".verdict{display:flex;gap:1rem;align-items:flex-start;border-radius:10px;"
	"padding:1rem 1.25rem;margin:0 0 1.5rem;border:1px solid}\n"
	".verdict p{margin:0;max-width:none}\n"
	".verdict strong{font-size:1.125rem}\n"
	".verdict a{color:inherit}\n"
	".words{display:grid;grid-template-columns:max-content 1fr;gap:.15rem "
	"1rem;color:var(--soft);"
	"font-size:.875rem;margin:.5rem 0 1rem}\n"
	".words dt{font-weight:600}\n"
	".words dd{margin:0}\n"
	".verdict svg{flex:none;width:1.75rem;height:1.75rem;margin-top:.05rem}\n"
	".good{color:var(--good);background:var(--good-behind)}\n"
	".fair{color:var(--fair);background:var(--fair-behind)}\n"
	".bad{color:var(--bad);background:var(--bad-behind)}\n"
	".note{color:var(--note);background:var(--note-behind)}\n"
	".badge{display:inline-block;border-radius:2em;padding:.1em .7em;font-size:.8125rem;"
	"font-weight:600;white-space:nowrap}\n"
	".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;"
	"margin:0 0 1.5rem;padding:0}\n"
	".tiles div{border:1px solid var(--line);border-radius:10px;padding:.75rem 1rem}\n"
	".tiles dt{color:var(--soft);font-size:.8125rem}\n"
	".tiles dd{margin:0;font-size:1.375rem;font-weight:600;letter-spacing:-.01em;"
	"line-height:1.35}\n"
	".tiles small{display:block;color:var(--soft);font-size:.8125rem;font-weight:400;"
	"letter-spacing:0}\n"
	".steps{padding-left:1.5rem;margin:.5rem 0 1rem}\n"
	".steps li{margin:.75rem 0}\n"
	".steps p{margin:.25rem 0 0;color:var(--soft)}\n"
	".kind{border-top:1px solid var(--line);margin-top:1.5rem;padding-top:.25rem}\n"
	".kind h3{display:flex;flex-wrap:wrap;gap:.25rem .75rem;align-items:center;"
	"margin-top:1rem}\n"
	"figure{margin:0 0 1.5rem}\n"
	"figcaption{color:var(--soft);font-size:.875rem;margin-top:.5rem}\n"
	"figure .qcow2-layout{display:block;width:100%;min-width:36rem;height:auto}\n"
	".swatch{vertical-align:-.125rem;margin-right:.6rem}\n"
	".more{color:var(--soft)}\n";

static const char tables[] =
	".scroll{overflow-x:auto;margin:.5rem 0 1rem}\n"
	"table{border-collapse:collapse;width:100%;font-size:.9375rem}\n"
	"caption{text-align:left;color:var(--soft);font-size:.875rem;padding:0 0 .4rem}\n"
	"th,td{text-align:left;vertical-align:top;padding:.45rem 1.25rem .45rem 0;"
	"border-bottom:1px solid var(--line)}\n"
	"th:last-child,td:last-child{padding-right:0}\n"
	"thead th{color:var(--soft);font-size:.8125rem;font-weight:600;white-space:nowrap}\n"
	"tbody th{font-weight:500}\n"
	"thead th,.totals th,.gains th{overflow-wrap:normal}\n"
	".legend th{white-space:nowrap}\n"
	"tbody tr:last-child>*{border-bottom:0}\n"
	".number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
	".places th,.places td:nth-child(-n+4){white-space:nowrap}\n"
	".places td:last-child{min-width:16rem;width:60%}\n"
	".names td,.names th{min-width:5rem}\n"
	".names th[scope=row]{min-width:12rem}\n"
	".about th{width:11rem;color:var(--soft)}\n"
	".fields td:nth-child(1),.fields th,.rows td,.rows th{white-space:nowrap}\n"
	".fields td:nth-child(3){min-width:12rem;width:50%}\n"
	".rows th:first-child,.names td:first-child{width:4rem}\n"
	".rows bdi{display:inline-block;max-width:24rem;white-space:normal}\n"
	".dump td{padding-top:0}\n"
	".same td{color:var(--soft)}\n"
	"pre{margin:0;line-height:1.5}\n"
	"details{border:1px solid var(--line);border-radius:8px;margin:.5rem 0}\n"
	"details[open]{background:var(--card)}\n"
	"summary{cursor:pointer;padding:.6rem 1rem;border-radius:8px}\n"
	"summary:hover{background:var(--code)}\n"
	"summary h3{display:inline;font-size:.9375rem;font-weight:600}\n"
	"summary .label{margin-left:.5rem}\n"
	"summary .place{margin-left:.5rem;color:var(--soft);white-space:nowrap}\n"
	"details>.scroll,details>.more{margin:.25rem 1rem .75rem}\n"
	"@media(max-width:40rem){.wide{padding:0 .75rem}section{padding:1.1rem .9rem;"
	"border-radius:10px;margin:1rem 0}.about th{width:8rem}th,td{padding-right:.9rem}"
	".tiles{grid-template-columns:1fr 1fr}header{padding-top:1.25rem}}\n"
	"@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}\n"
	"@media print{:root{color-scheme:light}body{background:#fff}nav,.skip{display:none}"
	"section{border:0;box-shadow:none;padding:0}.scroll{overflow:visible}"
	"th,td{white-space:normal!important;min-width:0!important;width:auto!important;"
	"overflow-wrap:break-word;padding-right:.75rem}td bdi,th bdi{overflow-wrap:anywhere}"
	"pre{white-space:pre-wrap}figure .qcow2-layout{min-width:0}"
	"tr,li,.verdict{break-inside:avoid}h2,h3,caption{break-after:avoid}"
	"details::details-content{content-visibility:visible;block-size:auto}}\n";

void report_write_style(struct spool *out)
{
	spool_print(
		out,
		"<style>\n:root{%s}\n@media screen and (prefers-color-scheme:dark){:root{%s}}\n",
		light, dark);
	spool_text(out, page);
	spool_text(out, parts);
	spool_text(out, tables);
	spool_text(out, "</style>\n");
}
