
# This network sees all pixels that are not masked, before and behind. transformers' ImageGPT has a causal mask, so open it.
for block in model.transformer.h:
    block.attn.bias.fill_(True)


def forward(masked):
    """What the network makes of `tokens` in place, without sos; masked positions have no token embedding."""
    embeddings = model.transformer.wte(tokens) * ~masked[:, :, None]
    return model(inputs_embeds=embeddings, output_hidden_states=True)


with torch.no_grad():
    feature = features(forward(torch.zeros_like(tokens, dtype=torch.bool)), MIDDLE_LAYER)
