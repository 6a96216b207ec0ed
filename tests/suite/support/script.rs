//! Reads scripts: `tests/answers/README.md` has their language.

/// One step: a word, what is behind it, and the indented lines below.
#[derive(Clone, Debug)]
pub struct Step {
    pub line: usize,
    pub word: String,
    pub rest: String,
    pub block: Vec<(usize, String)>,
}

/// A case: steps in a world of its own.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub line: usize,
    pub steps: Vec<Step>,
}

/// The cases of a script, each with the steps that stand before all cases.
pub fn cases(text: &str) -> Result<Vec<Case>, String> {
    let mut common: Vec<Step> = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line);
        if line.trim().is_empty() {
            continue;
        }
        let steps = cases.last_mut().map_or(&mut common, |case| &mut case.steps);
        if line.starts_with(char::is_whitespace) {
            let step = steps.last_mut().ok_or_else(|| format!("line {number}: belongs to no step"))?;
            step.block.push((number, line.trim().to_owned()));
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim().to_owned();
        if word == "case" {
            cases.push(Case { name: rest, line: number, steps: common.clone() });
        } else {
            steps.push(Step { line: number, word: word.to_owned(), rest, block: Vec::new() });
        }
    }
    Ok(cases)
}

/// A line up to its comment; a semicolon in quotes is none.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b';' if !quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line.trim_end()
}
