//! A visitor's hands: mouse, finger, keyboard and files, as the browser gets them from its system.

use std::path::Path;

use serde_json::json;

use crate::chromium::Page;

impl Page {
    /// Where a point of an element is, from 0 to 1 across and down it. It must be in nobody's way.
    pub(crate) fn place(&mut self, selector: &str, across: f64, down: f64) -> (f64, f64) {
        let found = self.js(&format!(
            "(() => {{
                const element = document.querySelector({selector:?});
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + {across} * box.width, box.y + {down} * box.height];
                const top = document.elementFromPoint(x, y);
                if (!element.contains(top)) throw `${{top?.outerHTML}} lies over {}`;
                return [x, y];
            }})()",
            selector.escape_default()
        ));
        (found[0].as_f64().unwrap(), found[1].as_f64().unwrap())
    }

    pub(crate) fn click(&mut self, selector: &str) {
        let place = self.place(selector, 0.5, 0.5);
        self.drag(&[place]);
    }

    /// Moves the mouse along a way with its button held.
    pub(crate) fn drag(&mut self, way: &[(f64, f64)]) {
        let mut mouse = |kind: &str, (x, y): (f64, f64)| {
            let held = u8::from(kind != "mouseReleased");
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": held, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        };
        mouse("mousePressed", way[0]);
        way[1..].iter().for_each(|place| mouse("mouseMoved", *place));
        mouse("mouseReleased", way[way.len() - 1]);
    }

    /// Moves a finger along a way.
    pub(crate) fn swipe(&mut self, way: &[(f64, f64)]) {
        for (i, (x, y)) in way.iter().enumerate() {
            let kind = if i == 0 { "touchStart" } else { "touchMove" };
            self.call("Input.dispatchTouchEvent", json!({"type": kind, "touchPoints": [{"x": x, "y": y}]}));
        }
        self.call("Input.dispatchTouchEvent", json!({"type": "touchEnd", "touchPoints": []}));
    }

    /// Presses a key by its name, such as `a` or `Shift+ArrowUp`.
    pub(crate) fn press(&mut self, keys: &str) {
        let mut names: Vec<&str> = keys.split('+').collect();
        let key = names.pop().unwrap();
        let modifiers = if names.contains(&"Control") { 2 } else { 0 } + if names.contains(&"Shift") { 8 } else { 0 };
        let named =
            ["Tab", "Enter", "Escape", "End", "Home", "Backspace", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"];
        let codes = [9, 13, 27, 35, 36, 8, 37, 38, 39, 40];
        let code =
            named.iter().position(|name| *name == key).map_or(key.as_bytes()[0].to_ascii_uppercase(), |i| codes[i]);
        let text = if key == "Enter" {
            "\r"
        } else if key.len() == 1 && modifiers != 2 {
            key
        } else {
            ""
        };
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let event =
                json!({"type": kind, "key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers, "text": text});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Puts a text in the place of what is in a field.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.js(&format!(
            "document.querySelector({selector:?}).focus(), document.querySelector({selector:?}).select()"
        ));
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Chooses a file in an input.
    pub(crate) fn choose(&mut self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", json!({}))["root"]["nodeId"].take();
        let node = self.call("DOM.querySelector", json!({"nodeId": root, "selector": selector}))["nodeId"].take();
        self.call("DOM.setFileInputFiles", json!({"nodeId": node, "files": [file]}));
    }

    /// Drops a file on the middle of an element.
    pub(crate) fn drop_file(&mut self, selector: &str, file: &Path) {
        let (x, y) = self.place(selector, 0.5, 0.5);
        let data = json!({"items": [], "files": [file], "dragOperationsMask": 1});
        for kind in ["dragEnter", "dragOver", "drop"] {
            self.call("Input.dispatchDragEvent", json!({"type": kind, "x": x, "y": y, "data": data}));
        }
    }

    /// Pastes a file that is given in base64.
    pub(crate) fn paste(&mut self, name: &str, base64: &str) {
        self.js(&format!(
            "(() => {{
                const bytes = Uint8Array.from(atob({base64:?}), (letter) => letter.charCodeAt(0));
                const clipboardData = new DataTransfer();
                clipboardData.items.add(new File([bytes], {name:?}, {{ type: 'image/png' }}));
                document.body.dispatchEvent(new ClipboardEvent('paste', {{ clipboardData, bubbles: true }}));
            }})()"
        ));
    }
}
